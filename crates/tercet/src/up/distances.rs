//! `--sites` and `--rtt`: where the nodes of `tercet up` are said to be, and how far from each other.

use data::Site;
use std::collections::BTreeMap;
use std::time::Duration;

/// The furthest that two sites can be apart. Members of the control plane wait 300 ms and up to as much again for each other.
/// Measured with three sites that are all so far apart: at 250 ms they are ready after 5 s, at 280 after 8 s, at 300 never.
const RTT_MAX: Duration = Duration::from_millis(250);

/// Refuses what is no site's name, and sites without a node.
pub fn check_sites(sites: &[String], nodes: u16) -> Result<(), String> {
    if let Some(wrong) = sites.iter().find(|name| Site::named(name).is_none()) {
        return Err(format!(
            "--sites: '{wrong}' is no name of a site: 1 to 31 printable characters without spaces"
        ));
    }
    // One node after the other is at the next of them.
    let reached = &sites[..sites.len().min(usize::from(nodes))];
    match sites.iter().find(|site| !reached.contains(site)) {
        Some(site) => {
            Err(format!("--sites: no node is left for {site}: say --nodes {} or more", sites.len()))
        }
        None => Ok(()),
    }
}

/// Reads `80ms`, `5s`, `0.5s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no duration: write 80ms or 1.5s");
    let (number, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 1000.0),
        (None, None) => return Err(wrong()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * unit_ms / 1000.0).map_err(|_| wrong())
}

/// Round trips by pair of sites, in the order of their names: what `--rtt` says.
pub fn round_trips(
    sites: &[String],
    said: &[String],
) -> Result<BTreeMap<(String, String), Duration>, String> {
    let mut trips = BTreeMap::new();
    for item in said {
        let shape = || format!("--rtt: '{item}' does not say how far two sites are apart: write eu-us=80ms");
        let (pair, time) = item.rsplit_once('=').ok_or_else(shape)?;
        let time = duration(time).map_err(|why| format!("--rtt: {why}"))?;
        if time > RTT_MAX {
            return Err(format!("--rtt: {item} is too far: at most {} ms", RTT_MAX.as_millis()));
        }
        let is_known = |name: &str| sites.iter().any(|site| site == name);
        // A name may have a '-' in it.
        let parts = pair.match_indices('-').map(|(at, _)| (&pair[..at], &pair[at + 1..]));
        let mut found = parts.filter(|(a, b)| is_known(a) && is_known(b));
        let (a, b) = match (found.next(), found.next()) {
            (Some(sites), None) => sites,
            (Some(_), Some(_)) => {
                return Err(format!("--rtt: '{pair}' can be read as more than one pair of sites"));
            }
            (None, _) if sites.is_empty() => return Err("--rtt goes with --sites eu,us,...".into()),
            (None, _) => {
                return Err(format!(
                    "--rtt: '{pair}' is no pair of sites A-B: there are {}",
                    sites.join(", ")
                ));
            }
        };
        if a == b {
            return Err(format!("--rtt: {a} is one site: distances are between two"));
        }
        let key = if a <= b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
        if trips.insert(key, time).is_some() {
            return Err(format!("--rtt: {pair} is given twice"));
        }
    }
    Ok(trips)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [("80ms", 80), ("2s", 2000), ("1.5s", 1500), ("0ms", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "80", "ms", "s", "-1s", "+1s", "1e3s", "infs", "NaNs", "80 ms", "1.2.3s", "80mss"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn distances_are_between_two_sites_that_exist() {
        let trips =
            round_trips(&words("eu,us-west,ap"), &words("us-west-eu=80ms,ap-eu=0.2s")).expect("clear");
        let ms: Vec<_> = trips.iter().map(|((a, b), rtt)| (&a[..], &b[..], rtt.as_millis())).collect();
        assert_eq!(ms, [("ap", "eu", 200), ("eu", "us-west", 80)]);
        for (sites, said, why) in [
            ("eu,us", "eu-us", "write eu-us=80ms"),
            ("eu,us", "eu-us=80", "no duration"),
            ("eu,us", "eu-us=251ms", "too far"),
            ("eu,us", "eu-mars=3ms", "there are eu, us"),
            ("eu,us", "eu-eu=3ms", "one site"),
            ("eu,us", "eu-us=3ms,us-eu=4ms", "given twice"),
            ("a,a-b,b-c,c", "a-b-c=3ms", "more than one pair"),
            ("", "eu-us=3ms", "goes with --sites"),
        ] {
            let error = round_trips(&words(sites), &words(said)).expect_err(said);
            assert!(error.contains(why), "{said}: {error}");
        }
    }

    #[test]
    fn every_site_has_a_node() {
        assert_eq!(check_sites(&words("eu,us,eu"), 2), Ok(()));
        assert!(check_sites(&words("eu,us,ap"), 2).is_err_and(|why| why.contains("left for ap")));
        assert!(check_sites(&["e u".into()], 3).is_err_and(|why| why.contains("no name of a site")));
    }
}
