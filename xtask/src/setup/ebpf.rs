//! What compiles and links the eBPF crate: chosen once, tried once, written down for
//! `router-userspace/build.rs`.

use std::{env, fs};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    linker,
    toolchain::{self, Toolchain},
};
use crate::{shell::capture, workspace};

/// The toolchain chosen before if it is still there, else the first that compiles and links a
/// program for the kernel. `QUIC_ROUTER_EBPF_TOOLCHAIN` names another.
pub(super) fn ready() -> Result<Toolchain> {
    if let Some(toolchain) = settled() {
        return Ok(toolchain);
    }
    toolchain::require_rustup()?;
    let toolchain = asked_for().map_or_else(choose, prove)?;
    fs::write(workspace::cache(CHOSEN), format!("{}\n", toolchain.name()))?;
    eprintln!("setup: toolchain `{}` compiles the eBPF crate", toolchain.name());
    Ok(toolchain)
}

/// What [`ready`] would do, if anything.
pub(super) fn lacking() -> Option<String> {
    let linker = if linker::is_installed() { "" } else { "; then cargo install bpf-linker" };
    let choice = "a toolchain for eBPF: rustup's nightly with rust-src, else Debian's rustc with its sources";
    settled().is_none().then(|| format!("{choice}{linker}"))
}

/// The toolchain that was chosen before, if it still is there and is what the environment asks for.
fn settled() -> Option<Toolchain> {
    let is_wanted = |toolchain: &Toolchain| asked_for().is_none_or(|asked_for| asked_for == *toolchain);
    chosen_before().filter(|toolchain| is_wanted(toolchain) && toolchain.has_sources() && linker::is_installed())
}

fn asked_for() -> Option<Toolchain> {
    env::var("QUIC_ROUTER_EBPF_TOOLCHAIN").ok().map(|name| Toolchain::named(&name))
}

fn chosen_before() -> Option<Toolchain> {
    let name = fs::read_to_string(workspace::cache(CHOSEN)).ok()?;
    Some(Toolchain::named(name.trim()))
}

/// A nightly of rustup's, else Debian's compiler.
fn choose() -> Result<Toolchain> {
    let nightly = toolchain::nightly().context("none with rust-src");
    let refused = match nightly.and_then(prove) {
        Ok(nightly) => return Ok(nightly),
        Err(error) => format!("{error:#}"),
    };
    eprintln!("setup: no usable nightly ({refused}); taking Debian's compiler");
    let debian =
        toolchain::debian().with_context(|| format!("nothing here can compile for the kernel; nightly: {refused}"))?;
    prove(debian)
}

/// Compiles and links the smallest program; if that fails, once more with a linker built for this
/// toolchain.
fn prove(toolchain: Toolchain) -> Result<Toolchain> {
    if !toolchain.has_sources() {
        bail!("rustup has no toolchain `{}` with rust-src", toolchain.name());
    }
    eprintln!("setup: trying toolchain `{}` on a small eBPF program", toolchain.name());
    let first = if linker::is_installed() { compile_sample(&toolchain) } else { Err(anyhow!("no bpf-linker")) };
    if let Err(error) = first {
        eprintln!("setup: it fails: {error:#}");
        linker::install(&toolchain)?;
        let name = toolchain.name();
        compile_sample(&toolchain).with_context(|| format!("toolchain `{name}` cannot compile for the kernel"))?;
    }
    Ok(toolchain)
}

fn compile_sample(toolchain: &Toolchain) -> Result<()> {
    let folder = workspace::cache("sample");
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), SAMPLE_MANIFEST)?;
    fs::write(folder.join("src/main.rs"), SAMPLE)?;
    let mut cargo = toolchain.command("cargo");
    cargo.current_dir(&folder).env("CARGO_ENCODED_RUSTFLAGS", "-Cdebuginfo=2\x1f-Clink-arg=--btf");
    cargo.args(["build", "--quiet", "--release", "-Zbuild-std=core", "--target-dir", "target", "--target", KERNEL]);
    capture(&mut cargo)?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The target that the kernel runs: BPF in the machine's own byte order.
pub(crate) const KERNEL: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// In the cache: the name of the toolchain, for `router-userspace/build.rs`.
const CHOSEN: &str = "ebpf-toolchain";

const SAMPLE_MANIFEST: &str = r#"[package]
name = "sample"
edition = "2024"

[workspace]
"#;

const SAMPLE: &str = r#"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
extern "C" fn sample(_: *mut u8) -> u32 {
    2
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"#;
