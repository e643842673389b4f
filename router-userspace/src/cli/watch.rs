//! `--watch`: the same again every so often, until interrupted.

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use super::{
    fail::{Exit, Fail},
    output,
};

/// `--watch [SECONDS]`
#[derive(clap::Args, Debug)]
pub(super) struct Watch {
    /// Show it again every SECONDS (1 unless said), until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = interval)]
    watch: Option<Duration>,
}

impl Watch {
    /// Whether it is shown again and again.
    pub(super) fn is_on(&self) -> bool {
        self.watch.is_some()
    }

    /// Prints what `look` gives, once or until interrupted. On a terminal, each takes the place
    /// of the one before.
    ///
    /// # Errors
    /// The first that `look` gives.
    pub(super) fn print(&self, mut look: impl FnMut() -> Result<(String, Exit), Fail>) -> Result<Exit, Fail> {
        let clear = if io::stdout().is_terminal() { CLEAR } else { "" };
        loop {
            let (text, exit) = look()?;
            let Some(interval) = self.watch else {
                output::print(&text)?;
                return Ok(exit);
            };
            output::print(&format!("{clear}{text}"))?;
            thread::sleep(interval);
        }
    }
}

/// Seconds, from a tenth to a day.
fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write seconds, from 0.1 to 86400".to_owned()),
    }
}

/// Moves the terminal's cursor home and erases the screen (ECMA-48 CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_seconds_in_bounds() {
        assert_eq!(interval("1"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "0.01", "1e9", "NaN", "inf", "soon"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_it_one_look_decides_the_exit_code() {
        let once = Watch { watch: None };
        assert_eq!(once.print(|| Ok((String::new(), Exit::No))), Ok(Exit::No));
        assert_eq!(once.print(|| Err(Fail::new(Exit::NoAgent, "gone"))), Err(Fail::new(Exit::NoAgent, "gone")));
    }
}
