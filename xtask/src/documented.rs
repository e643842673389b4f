//! Every `cargo xtask ...` that README and docs name is a command of this program, and its plan brings
//! about all that it needs.

use std::{fs, path::PathBuf};

use clap::Parser as _;

use super::Xtask;
use crate::workspace;

#[test]
fn commands_work_from_nothing() {
    let commands = commands();
    for wanted in ["cargo xtask demo", "cargo xtask test", "cargo xtask bench datapath"] {
        assert!(commands.iter().any(|(_, command)| command == wanted), "{wanted} is not documented any more");
    }
    for (file, command) in commands {
        let words = command.split_whitespace().skip(1).map(placeholder);
        let parsed = Xtask::try_parse_from(words).unwrap_or_else(|error| panic!("{file}: `{command}`: {error}"));
        let plan = parsed.verb.plan();
        plan.check().unwrap_or_else(|error| panic!("{file}: `{command}`: {error}"));
        assert!(!plan.text().is_empty(), "{file}: `{command}` shows nothing for --dry-run");
    }
}

#[test]
fn a_command_ends_where_its_code_does() {
    let text = "Run `cargo xtask bench http --record`, then:\n\n```\ncargo xtask demo     # watch it\n```\n";
    assert_eq!(commands_of(text), ["cargo xtask bench http --record", "cargo xtask demo"]);
}

/// `NAME` stands for a name, and `N` for a number.
fn placeholder(word: &str) -> &str {
    if word == "N" { "1" } else { word }
}

/// Each command with the file that names it.
fn commands() -> Vec<(String, String)> {
    let root = workspace::root();
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("docs can be read").flatten().map(|entry| entry.path());
        let (inner, plain): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        folders.extend(inner);
        files.extend(plain.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let of_file = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("documents can be read");
        let name = file.display().to_string();
        commands_of(&text).into_iter().map(move |command| (name.clone(), command)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of_file).collect()
}

/// The commands in a text: each ends with its code span or line, or before a comment.
fn commands_of(text: &str) -> Vec<String> {
    let ends = |c: char| matches!(c, '`' | '\n' | '#');
    let rests = text.match_indices("cargo xtask ").map(|(at, _)| &text[at..]);
    rests.map(|rest| rest.split(ends).next().unwrap_or_default().trim().to_owned()).collect()
}
