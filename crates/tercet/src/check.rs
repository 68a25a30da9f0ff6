//! `tercet check`: holds a recorded history against what was promised.

use checker::{Model, Settings, Verdict, format, judge};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

/// Judges a history of client operations, one JSON object a line (docs/internals/history.md).
///
/// Exit code 0: no violation. 1: violations. 2: the file is no history, or has nothing that the model judges.
/// 3: no violation was found, but the search was given up on some keys.
#[derive(Args)]
pub struct Check {
    /// What the history is held against.
    #[arg(long, value_parser = models())]
    model: Model,
    /// The file; `-` is standard input.
    history: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// How many violations to print in full.
    #[arg(long, default_value_t = 10)]
    show: usize,
    /// How old a read may be, in milliseconds (model `staleness`); otherwise ages are only measured.
    #[arg(long)]
    staleness_ms_max: Option<u64>,
    /// What accounts add up to (model `bank`); otherwise what the first read of a bank saw.
    #[arg(long, allow_hyphen_values = true)]
    total: Option<i64>,
    /// States that the search for an order may visit per key, where values repeat.
    #[arg(long, default_value_t = Settings::default().states_max)]
    states_max: usize,
}

/// The models by name, each with its line in the help.
fn models() -> impl TypedValueParser<Value = Model> {
    let possible = Model::ALL.map(|model| PossibleValue::new(model.name()).help(model.about()));
    PossibleValuesParser::new(possible).try_map(|name| Model::named(&name).ok_or("no such model"))
}

impl Check {
    pub fn run(&self) -> ExitCode {
        match self.judge() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("tercet check: {}: {error}", self.history.display());
                ExitCode::from(2)
            }
        }
    }

    fn judge(&self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        let input: Box<dyn BufRead> = match self.history.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(BufReader::with_capacity(1 << 20, File::open(&self.history)?)),
        };
        let document = format::read(input)?;
        let settings = Settings {
            states_max: self.states_max,
            staleness_ns_max: self.staleness_ms_max.map(|ms| ms.saturating_mul(1_000_000)),
            total: self.total,
        };
        let verdict = judge(&document.operations, self.model, &settings);
        let line = |at: usize| document.lines[at];
        if self.json {
            println!("{}", verdict.json(line));
        } else {
            let place = |at: usize| format!("line {}", line(at));
            println!("{}", verdict.report(&document.operations, self.show, place));
        }
        if verdict.operations() == 0 || verdict.measured.contains(&("keys_with_two_copies", 0)) {
            return Err(format!("nothing in it is judged by `{}`", verdict.model.name()).into());
        }
        Ok(exit_code(&verdict))
    }
}

fn exit_code(verdict: &Verdict) -> ExitCode {
    match (verdict.violation_count(), verdict.undecided.len()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}
