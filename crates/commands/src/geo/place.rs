//! Degrees, geohashes and distances. Sines come from a portable library: all replicas get the same bits.

use alloc::string::String;

/// Bits of a geohash per axis: twice 26 fit a double exactly.
const AXIS_BITS: u32 = 26;
const AXIS_STEPS: f64 = (1u64 << AXIS_BITS) as f64;

/// The web mercator projection ends at this latitude, and with it what can be stored.
const LATITUDE_MAX: f64 = 85.051_128_78;
const LONGITUDE_MAX: f64 = 180.0;

/// Mean radius of the earth in metres that Redis reckons with.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;

/// A place in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl Place {
    /// `None` when the place lies beyond what can be stored.
    pub(super) fn new(longitude: f64, latitude: f64) -> Option<Place> {
        let within = longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX;
        within.then_some(Place { longitude, latitude })
    }

    /// The score under which the place is stored: the cells of both axes, their bits in turn.
    pub(super) fn score(self) -> f64 {
        (spread(cell(self.latitude, LATITUDE_MAX)) | spread(cell(self.longitude, LONGITUDE_MAX)) << 1) as f64
    }

    /// The middle of the cell that a score names. A score that is no geohash gives some place, as in Redis.
    pub(super) fn of_score(score: f64) -> Place {
        let bits = score as u64;
        Place {
            longitude: middle(gather(bits >> 1), LONGITUDE_MAX),
            latitude: middle(gather(bits), LATITUDE_MAX),
        }
    }

    /// The geohash text of eleven characters that other programs know: it divides latitudes up to the poles, so the bits
    /// are made anew; its last character has no bits left and is `0`.
    pub(super) fn geohash(self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = spread(cell(self.latitude, 90.0)) | spread(cell(self.longitude, LONGITUDE_MAX)) << 1;
        let letters = (1..=10).map(|at| bits >> (2 * AXIS_BITS - 5 * at) & 31).chain([0]);
        letters.map(|index| char::from(ALPHABET[index as usize])).collect()
    }

    /// Metres along the great circle.
    pub(super) fn distance(self, other: Place) -> f64 {
        let half_longitude = libm::sin((radians(other.longitude) - radians(self.longitude)) / 2.0);
        if half_longitude == 0.0 {
            return self.latitude_distance(other);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let half_latitude = libm::sin((to - from) / 2.0);
        let chord =
            half_latitude * half_latitude + libm::cos(from) * libm::cos(to) * half_longitude * half_longitude;
        2.0 * EARTH_RADIUS_M * libm::asin(libm::sqrt(chord))
    }

    /// Metres from north to south between two parallels.
    pub(super) fn latitude_distance(self, other: Place) -> f64 {
        EARTH_RADIUS_M * (radians(other.latitude) - radians(self.latitude)).abs()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * (core::f64::consts::PI / 180.0)
}

/// The step of an axis, which goes from `-max` to `max`, in which a coordinate lies.
fn cell(degrees: f64, max: f64) -> u32 {
    ((degrees + max) / (2.0 * max) * AXIS_STEPS) as u32
}

fn middle(cell: u32, max: f64) -> f64 {
    let edge = |cell: f64| -max + cell / AXIS_STEPS * (2.0 * max);
    let (low, high) = (edge(f64::from(cell)), edge(f64::from(cell) + 1.0));
    ((low + high) / 2.0).clamp(-max, max)
}

/// Moves bit i to bit 2i.
fn spread(bits: u32) -> u64 {
    (0..32).fold(0, |spread, i| spread | u64::from(bits >> i & 1) << (2 * i))
}

/// Undoes [`spread`], leaving the odd bits out of account.
fn gather(bits: u64) -> u32 {
    (0..32).fold(0, |gathered, i| gathered | ((bits >> (2 * i) & 1) as u32) << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_places_have_their_known_hashes() {
        let palermo = Place::new(13.361389, 38.115556).unwrap();
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(Place::of_score(palermo.score()).geohash(), "sqc8b49rny0");
        let catania = Place::new(15.087269, 37.502669).unwrap();
        let stored = [palermo, catania].map(|place| Place::of_score(place.score()));
        assert!((stored[0].distance(stored[1]) - 166_274.151_6).abs() < 0.0001);
        assert_eq!(Place::new(180.1, 0.0), None);
        assert_eq!(Place::new(0.0, 85.06), None);
        assert_eq!(Place::new(f64::NAN, 0.0), None);
    }

    proptest! {
        #[test]
        fn a_stored_place_comes_back_within_a_metre(
            longitude in -180.0f64..180.0, latitude in -85.0f64..85.0,
        ) {
            let place = Place::new(longitude, latitude).unwrap();
            let back = Place::of_score(place.score());
            prop_assert!(place.distance(back) < 1.0);
            prop_assert_eq!(back.score(), place.score());
        }

        #[test]
        fn any_score_is_some_place(score in any::<f64>()) {
            prop_assert_eq!(Place::of_score(score).geohash().len(), 11);
        }
    }
}
