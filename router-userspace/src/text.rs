//! Text for people: aligned tables, and numbers in the units that people read.

use std::time::Duration;

/// Rows of cells, aligned in columns two blanks apart.
pub(crate) struct Table {
    indent: usize,
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Table {
    /// A table without rows, set in by `indent` blanks.
    pub(crate) fn new(indent: usize, columns: &[Align]) -> Self {
        Self { indent, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; the first may be the columns' names.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The lines, each with its end.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&self.columns).zip(&widths).filter(|(_, width)| **width > 0);
            let cells = cells.map(|((cell, align), &width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = format!("{:indent$}{}", "", cells.collect::<Vec<_>>().join("  "), indent = self.indent);
            format!("{}\n", line.trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of 1,024 of which there is one: `512 B`, `1.5 KiB`, `8.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    if value < 1_024.0 {
        return format!("{number} B");
    }
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        value /= 1_024.0;
        // What would be rounded to 1024.0 is one of the next unit.
        if value < 1_023.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} PiB", value / 1_024.0)
}

/// A span of time in its two largest units: `350 ms`, `4.2 s`, `3m 12s`, `2h 14m`, `5d 3h`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `one` thing or so many `many`.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (8 << 20, "8.0 MiB"),
            (3 << 40, "3.0 TiB"),
            (5 << 50, "5.0 PiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(plural(1, "entry", "entries"), "1 entry");
        assert_eq!(plural(2_000, "entry", "entries"), "2,000 entries");
    }

    #[test]
    fn time_in_its_two_largest_units() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1m 0s"),
            (192_000, "3m 12s"),
            (3_600_000, "1h 0m"),
            (8_040_000, "2h 14m"),
            (442_800_000, "5d 3h"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let mut table = Table::new(2, &[Align::Left, Align::Right, Align::Left, Align::Left]);
        table.row(["NAME", "N", "", "LAST"]);
        table.row(["é", "1,000", "", ""]);
        table.row(["longer", "7", "", "x"]);
        assert_eq!(table.text(), "  NAME        N  LAST\n  é       1,000\n  longer      7  x\n");
    }
}
