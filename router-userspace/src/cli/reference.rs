//! `completions` and `man`: written from the same definition as the help.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{
    Cli,
    fail::{Exit, Failed, print},
};

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

impl Completions {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "quic-router", &mut script);
        write(&script)
    }
}

pub(super) fn man() -> Result<ExitCode, Failed> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|e| Failed::new(Exit::No, format!("manual page: {e}")))?;
    write(&page)
}

fn write(text: &[u8]) -> Result<ExitCode, Failed> {
    print(&String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
