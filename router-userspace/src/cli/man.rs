//! `quic-router man`: the manual pages, from the same definition as the help.

use clap::Command;
use clap_mangen::Man as Page;

use super::{
    fail::{Exit, Fail},
    output,
};

/// Print the manual page, or a verb's
#[derive(clap::Args, Debug)]
pub(super) struct Man {
    /// The verb; for one with verbs of its own, both: workers drain
    #[arg(value_name = "VERB", num_args = 0..)]
    verb: Vec<String>,
}

impl Man {
    pub(super) fn execute(&self, program: Command) -> Result<Exit, Fail> {
        output::print(&page(&self.verb, program)?)?;
        Ok(Exit::Done)
    }
}

fn page(verb: &[String], mut program: Command) -> Result<String, Fail> {
    program.build();
    let mut command = &program;
    for name in verb {
        command = command.find_subcommand(name).ok_or_else(|| {
            Fail::new(Exit::Usage, format!("man: there is no verb {name:?}")).hint("quic-router --help")
        })?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut roff = Vec::new();
    Page::new(command.clone())
        .title(name)
        .render(&mut roff)
        .map_err(|error| Fail::new(Exit::Kernel, format!("man: {error}")))?;
    Ok(String::from_utf8_lossy(&roff).into_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::command_line::Cli;

    #[test]
    fn every_verb_has_a_page() {
        let page = |verb: &[String]| page(verb, Cli::command());
        let whole = page(&[]).unwrap();
        assert!(whole.contains(".TH quic-router 1"), "{whole}");
        for verb in Cli::command().get_subcommands() {
            let name = verb.get_name().to_owned();
            let page = page(std::slice::from_ref(&name)).unwrap();
            assert!(page.contains(&format!(".TH quic-router-{name} 1")), "{page}");
        }
        assert!(page(&["workers".to_owned(), "drain".to_owned()]).unwrap().contains("quic-router-workers-drain"));
        assert_eq!(page(&["fly".to_owned()]).unwrap_err().exit(), Exit::Usage);
    }
}
