//! `quic-router completions`: what a shell offers when one presses Tab.

use clap::Command;
use clap_complete::Shell;

use super::{
    fail::{Exit, Fail},
    output,
};
use crate::build_identity::NAME;

/// Print the completions of a shell, to be put where it looks for them
#[derive(clap::Args, Debug)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self, program: Command) -> Result<Exit, Fail> {
        output::print(&script(self.shell, program))?;
        Ok(Exit::Done)
    }
}

fn script(shell: Shell, mut program: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, NAME, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::command_line::Cli;

    #[test]
    fn every_shell_learns_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell, Cli::command());
            for verb in Cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {} is missing", verb.get_name());
            }
        }
    }
}
