//! nginx with QUIC, from Debian's packages, in the router's place: to compare with.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{Program, Running, UPSTREAM4, peers};

/// A running nginx; ended on drop.
pub(super) struct Nginx {
    program: Program,
    pid: PathBuf,
}

/// Whether it has its program that finds connections which rebind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuicBpf {
    On,
    Off,
}

impl Nginx {
    /// Starts it on the first clients' address, with two workers, before the laboratory's servers.
    pub(super) fn start(lab: &Running, quic_bpf: QuicBpf) -> Result<Self> {
        let home = lab.home();
        let pid = home.path("nginx.pid");
        let router = lab.wire().router(443);
        let folder = home.path("");
        let text = format!(
            "daemon off;\nquic_bpf {quic_bpf};\nworker_processes 2;\nuser root;\npid {pid};\nerror_log {log} error;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n  access_log off;\n  client_max_body_size 100m;\n  keepalive_requests 1000000;\n\
             {temporary}\
             \x20 upstream web {{ server {UPSTREAM4}:80; keepalive 64; }}\n\
             \x20 server {{\n    listen {router} quic reuseport;\n    http3 on;\n    quic_gso on;\n\
             \x20   ssl_certificate {home}certificate.pem;\n    ssl_certificate_key {home}certificate.key;\n\
             \x20   location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
             \x20 }}\n}}\n",
            quic_bpf = match quic_bpf {
                QuicBpf::On => "on",
                QuicBpf::Off => "off",
            },
            pid = pid.display(),
            log = home.path("nginx.log").display(),
            home = folder.display(),
            temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("  {kind}_temp_path {}nginx-{kind};\n", folder.display()))
                .concat(),
        );
        let config = home.write("nginx.conf", &text)?;
        let mut command = lab.network().router().command(peers::find("nginx")?);
        command.arg("-e").arg(home.path("nginx.log")).arg("-c").arg(config);
        let program = Program::start("nginx", &mut command)?;
        let nginx = Self { program, pid };
        for _ in 0..100 {
            if nginx.serves(lab) {
                return Ok(nginx);
            }
            ensure!(!nginx.program.ends_within(Duration::from_millis(50)), "nginx ended: {}", nginx.program.said());
        }
        anyhow::bail!("nginx does not serve: {}", nginx.program.said())
    }

    fn serves(&self, lab: &Running) -> bool {
        lab.quic_go().get("/bytes/10").within(Duration::from_secs(1)).succeed().is_ok()
    }

    /// What `nginx -s reload` does.
    pub(super) fn reload(&self) -> Result<()> {
        let pid = fs::read_to_string(&self.pid).context("nginx has no pid file")?;
        let status = Command::new("kill").args(["-HUP", pid.trim()]).status()?;
        ensure!(status.success(), "kill -HUP {pid}: {status}");
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it; killed, they would be left.
        let _ = self.program.terminate();
        self.program.ends_within(Duration::from_secs(5));
    }
}
