//! Compares the help of every verb with the files in `snapshots/`, so that no change of the
//! interface goes unseen. With `QUIC_ROUTER_BLESS=1` in the environment it writes them instead.

use std::{collections::BTreeMap, env, fs, path::Path};

use clap::{Command, CommandFactory as _};

use super::command_line::Cli;

#[test]
fn the_help_of_every_verb_is_as_approved() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/snapshots");
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut helps = BTreeMap::new();
    collect(&mut root, "quic-router".to_owned(), &mut helps);

    if env::var_os("QUIC_ROUTER_BLESS").is_some() {
        for (name, help) in &helps {
            fs::write(folder.join(name), help).unwrap();
        }
    }
    for (name, help) in &helps {
        let approved = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(help, &approved, "{name}: if this is meant, run the tests with QUIC_ROUTER_BLESS=1");
    }
    for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(helps.contains_key(&name_of(&path)), "{}: there is no such verb any more", path.display());
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

fn collect(command: &mut Command, name: String, helps: &mut BTreeMap<String, String>) {
    helps.insert(format!("{name}.txt"), trimmed(&command.render_long_help().to_string()));
    for verb in command.get_subcommands_mut() {
        let name = format!("{name}-{}", verb.get_name());
        collect(verb, name, helps);
    }
}

/// Without blanks at the ends of lines, which editors remove.
fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
