//! What all proxies stand in front of: nginx with HTTP/1.1, which answers from memory.

use std::{fs::File, net::SocketAddr, time::Duration};

use anyhow::Result;
use router_tests::lab::{Running, UPSTREAM4, peers};

use super::proxies::{self, Server};

/// A running origin; ended on drop.
pub(super) struct Origin {
    _server: Server,
}

/// Where it is.
pub(super) fn address() -> SocketAddr {
    (UPSTREAM4, 8000).into()
}

/// Octets at [`BULK`].
const BULK_LENGTH: u64 = 64 * 1024 * 1024;
/// The path of what takes long. Any other is answered with 1 KiB.
pub(super) const BULK: &str = "/bulk";

impl Origin {
    pub(super) fn start(lab: &Running) -> Result<Self> {
        let home = lab.home();
        // A hole: it is read from memory whatever the disk does.
        File::create(home.path("bulk"))?.set_len(BULK_LENGTH)?;
        let config = home.write(
            "origin.conf",
            &format!(
                "daemon off;\nworker_processes 1;\nuser root;\npid {folder}/origin.pid;\n\
                 error_log {folder}/origin.log error;\nevents {{ worker_connections 4096; }}\n\
                 http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000000;\n\
                 \x20 keepalive_timeout 1h;\n{temporary}\
                 \x20 server {{\n    listen {address} backlog=4096;\n    root {folder};\n\
                 \x20   location = {BULK} {{ }}\n    location / {{ return 200 {text}; }}\n  }}\n}}\n",
                folder = home.path("").display(),
                temporary = proxies::temporary(home, "origin"),
                address = address(),
                text = "x".repeat(1024),
            ),
        )?;
        let mut command = lab.network().upstream().command("taskset");
        command.args(["--cpu-list", super::load::CORE]).arg(peers::find("nginx-sid")?);
        command.arg("-e").arg(home.path("origin.log")).arg("-c").arg(config);
        Ok(Self { _server: Server::start("the origin", &mut command)?.stays_for(Duration::from_millis(300))? })
    }
}
