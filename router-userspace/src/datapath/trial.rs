//! Programs that are run or loaded for a trial, without a network.

use std::time::Duration;

use aya::{
    TestRunOptions,
    programs::{TestRun as _, Xdp},
};

use router_common::tunnel::OUTER_MAX;

use super::{
    error::Result,
    handle::Datapath,
    object,
    size::{Size, possible_cpus},
};

impl Datapath {
    /// Runs `steer` over `frame` without a network: the action it returns, and the mean
    /// time of one of `repeat` runs.
    pub fn try_steer(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
        try_run(self.xdp()?, frame, repeat)
    }

    /// Runs it over `frame` once: what it returns, and the frame as it left it.
    pub fn try_answer(&mut self, frame: &[u8]) -> Result<Trial> {
        // It may be longer than it was by the headers of a tunnel.
        let mut left = vec![0; frame.len() + OUTER_MAX];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut left), repeat: 1, ..TestRunOptions::new() };
        let result = self.xdp()?.test_run(options)?;
        left.truncate(result.data_size_out as usize);
        Ok(Trial { action: result.return_value, frame: left })
    }

    /// The same with `floor`, which only parses: what to measure `steer` by.
    pub fn try_floor(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
        try_run(object::floor(&mut self.ebpf)?, frame, repeat)
    }
}

/// Loads the programs and lets them go: whether this process may, whatever its capabilities say.
///
/// # Errors
/// What the kernel refused.
pub fn try_programs() -> Result<()> {
    let (mut ebpf, _) = object::load(&Size { flows: 1, cpus: possible_cpus() }, None, None)?;
    object::load_programs(&mut ebpf)
}

/// What became of a frame in a trial.
pub struct Trial {
    /// What the program returned.
    pub action: u32,
    /// The frame as it left it.
    pub frame: Vec<u8>,
}

fn try_run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let result = program.test_run(options)?;
    Ok((result.return_value, result.duration))
}
