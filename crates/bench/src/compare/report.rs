//! What a comparison found, as numbers and as a table.

use std::fmt;

use crate::load::Outcome;

/// All rows.
#[derive(Default, Debug)]
pub struct Report {
    pub tables: Vec<Table>,
}

/// One row: every server under the same load. The first server is what the others are compared with.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub cells: Vec<Cell>,
}

/// One server under one load.
#[derive(Debug)]
pub struct Cell {
    pub server: &'static str,
    /// In the order of the rounds.
    pub rounds: Vec<Outcome>,
}

impl Cell {
    /// The median of one figure over the rounds.
    pub fn median(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// The median of this server's figure divided by the other's in the same round.
    pub fn ratio(&self, other: &Cell, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(
            self.rounds
                .iter()
                .zip(&other.rounds)
                .map(|(ours, theirs)| figure(ours) / figure(theirs))
                .collect(),
        )
    }

    fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.errors).sum()
    }
}

/// The middle value, or the mean of the middle two; NaN when there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            write!(f, "{table}")?;
        }
        let note = "CPU: all server processes, user and system, µs per operation (= seconds per million).";
        writeln!(
            f,
            "{note}\nRatios: first server of the row divided by this one, medians of ratios within a round."
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        writeln!(
            f,
            "  {:<8} {:>11} {:>10} {:>10} {:>8} {:>10}   {:>6} {:>6} {:>6}",
            "server", "ops/s", "p50 µs", "p99 µs", "CPU µs", "disk B/op", "rate x", "p99 x", "CPU x"
        )?;
        for cell in &self.cells {
            let p50 = |o: &Outcome| o.latency_p50.as_micros() as f64;
            let p99 = |o: &Outcome| o.latency_p99.as_micros() as f64;
            write!(
                f,
                "  {:<8} {:>11.0} {:>10.0} {:>10.0} {:>8.2} {:>10.0}",
                cell.server,
                cell.median(Outcome::rate),
                cell.median(p50),
                cell.median(p99),
                cell.median(Outcome::cpu_micros),
                cell.median(Outcome::written_bytes),
            )?;
            let first = &self.cells[0];
            if cell.server != first.server {
                write!(
                    f,
                    "   {:>6.2} {:>6.2} {:>6.2}",
                    first.ratio(cell, Outcome::rate),
                    first.ratio(cell, p99),
                    first.ratio(cell, Outcome::cpu_micros),
                )?;
            }
            match cell.errors() {
                0 => writeln!(f)?,
                errors => writeln!(f, "   {errors} ERRORS")?,
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Usage;
    use std::time::Duration;

    fn cell(server: &'static str, rates: &[u64]) -> Cell {
        let rounds = rates.iter().map(|&operations| Outcome {
            operations,
            errors: 0,
            seconds: 1.0,
            latency_p50: Duration::from_micros(10),
            latency_p99: Duration::from_micros(20),
            latency_max: Duration::from_micros(30),
            usage: Usage { cpu_seconds: operations as f64 / 1e6, written_bytes: 0 },
        });
        Cell { server, rounds: rounds.collect() }
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The hour got twice as slow for both after the first round: the ratio does not notice.
        let ours = cell("a", &[400, 200, 200]);
        let theirs = cell("b", &[200, 100, 100]);
        assert_eq!(ours.ratio(&theirs, Outcome::rate), 2.0);
        assert_eq!(ours.median(Outcome::rate), 200.0);
        assert_eq!(ours.median(Outcome::cpu_micros), 1.0);
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
