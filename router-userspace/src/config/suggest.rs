//! Finds the word that was probably meant. A suggestion is made only when it is close: a wrong
//! one misleads more than none.

/// The one of `known` nearest to `word`, if at most a third of its letters differ.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, delete, replace or swap with their neighbour to make `a` into `b`
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // rows[i][j]: distance of the first i letters of `a` from the first j of `b`.
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_kind_of_slip_once() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listener", "listener", 0),
            ("listner", "listener", 1),
            ("listeners", "listener", 1),
            ("lestener", "listener", 1),
            ("lsitener", "listener", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["listener", "router", "route", "limits"];
        assert_eq!(nearest("Listeners", known), Some("listener"));
        assert_eq!(nearest("rotue", known), Some("route"));
        assert_eq!(nearest("telemetry", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
