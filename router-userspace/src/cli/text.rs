//! How answers look on a terminal: aligned tables, and numbers for people.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::fail::{Exit, Failed, print};

/// Prints an answer, as JSON or as text; again and again if asked to.
pub(super) fn show<T: Serialize>(
    json: bool,
    watch: Option<u64>,
    mut ask: impl FnMut() -> Result<T, Failed>,
    render: impl Fn(&T) -> String,
) -> Result<T, Failed> {
    loop {
        let answer = ask()?;
        let text = if json { to_json(&answer)? } else { render(&answer) };
        let Some(seconds) = watch else {
            print(&text)?;
            return Ok(answer);
        };
        print(&format!("{CLEAR}{text}"))?;
        std::thread::sleep(Duration::from_secs(seconds.max(1)));
    }
}

/// One line of JSON.
pub(super) fn to_json(answer: &impl Serialize) -> Result<String, Failed> {
    serde_json::to_string(answer).map(|json| json + "\n").map_err(|e| Failed::new(Exit::No, e))
}

/// Rows under a header, each column as wide as it needs; numbers to the right.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let is_number = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        !rows.is_empty() && cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let columns: Vec<(usize, bool)> = (0..header.len()).map(|column| (width(column), is_number(column))).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (cell, (width, right)) in cells.iter().zip(&columns) {
            let _ = if *right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        format!("{}\n", line.trim_end())
    };
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    [line(&header)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// `1h 2m`, `3m 4s`, `5s`
pub(super) fn seconds(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// `512 B`, `1.5 KiB`, `3.0 GiB`
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// Clears the terminal and goes to its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = vec![vec!["eth0".to_owned(), "7".to_owned()], vec!["e".to_owned(), "12345".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name      n\neth0      7\ne     12345\n");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([bytes(0), bytes(1536), bytes(3 << 30)], ["0 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([seconds(5), seconds(184), seconds(3725)], ["5s", "3m 4s", "1h 2m"]);
    }
}
