//! temporary
use clap::Parser;
use router_userspace::{agent, config::{Config, StartFlags}};
#[derive(Parser)]
struct Cli { #[command(flatten)] start: StartFlags, #[arg(long)] control: Option<std::path::PathBuf>, #[arg(long)] config: Option<std::path::PathBuf>, #[arg(long)] kernel_log: Option<String> }
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().filter(|a| a != "run").collect();
    let cli = Cli::parse_from(args);
    tracing_subscriber::fmt().with_env_filter(std::env::var("LOG").unwrap_or("info".into())).init();
    let control = cli.control.as_deref();
    let config = match &cli.config { Some(f) => Config::load(f, &cli.start, control)?, None => Config::from_flags(&cli.start, control)? };
    agent::run(config, agent::RunOptions { kernel_log: cli.kernel_log, allow_test_build: true })
}
