//! Files of prefixes to block or to allow: a line each, `PREFIX [drop|challenge|allow] [# why]`.

use std::{collections::HashMap, fs, path::Path};

use router_common::{
    admission::{Prefix, PrefixError},
    maps::{BLOCKS_MAX, BlockAction},
};

/// What a file says of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBlock {
    /// Of the source addresses that are meant.
    pub prefix: Prefix,
    /// What becomes of packets from there.
    pub action: BlockAction,
    /// The comment behind it.
    pub why: Option<String>,
    /// Where it stands: `FILE:LINE`.
    pub place: String,
}

/// What is wrong with a file: a sentence that begins with its place, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileProblem {
    pub(super) what: String,
    pub(super) hint: String,
}

/// What files say, one after the other.
#[derive(Debug, Default)]
pub(super) struct BlockFiles {
    pub(super) blocks: Vec<FileBlock>,
    /// By prefix, where in `blocks` it is.
    known: HashMap<Prefix, usize>,
}

impl BlockFiles {
    /// Adds what the file at `path` says; all that is wrong with it, but for what comes behind many mistakes.
    pub(super) fn read(&mut self, path: &Path) -> Vec<FileProblem> {
        match fs::read_to_string(path) {
            Ok(text) => self.add(&text, &path.display().to_string()),
            Err(e) => vec![FileProblem {
                what: format!("{} cannot be read: {e}", path.display()),
                hint: "a readable file, which may be empty".to_owned(),
            }],
        }
    }

    fn add(&mut self, text: &str, name: &str) -> Vec<FileProblem> {
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let place = format!("{name}:{number}");
            match line_of(line) {
                Ok(None) => {}
                Ok(Some((prefix, action, why))) => {
                    problems.extend(self.insert(FileBlock { prefix, action, why, place }));
                }
                Err(why) => problems.push(FileProblem { what: format!("{place}: {}", why.what), ..why }),
            }
            if problems.len() == PROBLEMS_MAX {
                break;
            }
        }
        problems
    }

    /// The same said twice is said once.
    fn insert(&mut self, block: FileBlock) -> Option<FileProblem> {
        if let Some(before) = self.known.get(&block.prefix).and_then(|&at| self.blocks.get(at)) {
            return (before.action != block.action).then(|| FileProblem {
                what: format!(
                    "{}: {} is {} here, and {} in {}",
                    block.place,
                    block.prefix,
                    block.action.name(),
                    before.action.name(),
                    before.place
                ),
                hint: "one of the two".to_owned(),
            });
        }
        if self.blocks.len() == BLOCKS_MAX as usize {
            return Some(FileProblem {
                what: format!("{}: the list has room for {BLOCKS_MAX} prefixes, and is full", block.place),
                hint: "shorter prefixes, each for several of them".to_owned(),
            });
        }
        self.known.insert(block.prefix, self.blocks.len());
        self.blocks.push(block);
        None
    }
}

type Line = (Prefix, BlockAction, Option<String>);

/// What a line says; none if it is empty, or a comment alone.
fn line_of(line: &str) -> Result<Option<Line>, FileProblem> {
    let (said, why) = match line.split_once('#') {
        Some((said, why)) => (said, Some(why.trim())),
        None => (line, None),
    };
    let mut words = said.split_whitespace();
    let Some(prefix) = words.next() else { return Ok(None) };
    let action = match words.next() {
        None => BlockAction::Drop,
        Some(word) => BlockAction::ALL.into_iter().find(|action| action.name() == word).ok_or_else(|| FileProblem {
            what: format!("{word:?} is not an action"),
            hint: "drop, which is meant without a word, challenge or allow; a comment begins with #".to_owned(),
        })?,
    };
    if let Some(word) = words.next() {
        let what = format!("{word:?} stands behind the action");
        return Err(FileProblem { what, hint: "PREFIX [drop|challenge|allow] [# why]".to_owned() });
    }
    let prefix = prefix.parse::<Prefix>().map_err(|error| FileProblem {
        what: format!("{prefix}: {error}"),
        hint: match error {
            PrefixError::HostBits { right } => right.to_string(),
            _ => "192.0.2.0/24, 2001:db8::/32, or an address alone".to_owned(),
        },
    })?;
    Ok(Some((prefix, action, why.filter(|why| !why.is_empty()).map(str::to_owned))))
}

/// Of one file: who has given another file by mistake need not read of each of its lines.
const PROBLEMS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<FileBlock>, Vec<String>) {
        let mut files = BlockFiles::default();
        let problems = files.add(text, "list").into_iter().map(|problem| problem.what).collect();
        (files.blocks, problems)
    }

    #[test]
    fn a_line_is_a_prefix_an_action_and_why() {
        let text = "# scanners\n\n192.0.2.0/24\n 192.0.2.7\tallow # the office \n2001:db8::/32 challenge#\n192.0.2.0/24 drop\n";
        let (blocks, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        let said: Vec<_> = blocks
            .iter()
            .map(|block| (block.prefix.to_string(), block.action.name(), block.why.as_deref(), block.place.as_str()))
            .collect();
        let expected = [
            ("192.0.2.0/24".to_owned(), "drop", None, "list:3"),
            ("192.0.2.7/32".to_owned(), "allow", Some("the office"), "list:4"),
            ("2001:db8::/32".to_owned(), "challenge", None, "list:5"),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let (blocks, problems) = read("192.0.2.1/24\nexample.com\n192.0.2.0/24 reject\n192.0.2.0/24 drop it\n");
        assert!(blocks.is_empty());
        assert_eq!(
            problems,
            [
                "list:1: 192.0.2.1/24: bits are set beyond the length: the prefix is 192.0.2.0/24",
                "list:2: example.com: not a prefix: 192.0.2.0/24, 2001:db8::/32, or an address alone",
                "list:3: \"reject\" is not an action",
                "list:4: \"it\" stands behind the action",
            ]
        );
        let (_, problems) = read("192.0.2.0/24\n192.0.2.0/24 allow\n");
        assert_eq!(problems, ["list:2: 192.0.2.0/24 is allow here, and drop in list:1"]);
        assert_eq!(read(&"junk\n".repeat(100)).1.len(), PROBLEMS_MAX);
    }

    #[test]
    fn beyond_the_room_there_is_one_problem_a_line() {
        let line = |n: u32| format!("{}/32\n", std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        let (blocks, problems) = read(&(0..=BLOCKS_MAX).map(line).collect::<String>());
        assert_eq!(blocks.len(), BLOCKS_MAX as usize);
        assert_eq!(problems, ["list:100001: the list has room for 100000 prefixes, and is full"]);
    }
}
