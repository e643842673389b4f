//! The parts of a node, one a line: generations, interfaces and their queues, listeners, servers, certificates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    agent::api::{self, CertificateSource, Health, ListenerState},
    cli::output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
};

/// Where there are several: which serves, and how far the others are.
pub(super) fn generations(generations: &[api::Generation]) -> Table {
    let mut table = Table::new(2, &[Right, Left, Left, Left, Right, Left, Left]);
    for one in generations.iter().filter(|_| generations.len() > 1) {
        let slots: Vec<_> = one.slots.iter().map(u8::to_string).collect();
        let left = match (one.may_be_stopped, one.seconds_left) {
            (true, _) => "may be stopped; it ends by itself".to_owned(),
            (false, Some(left)) => format!("at most {} left", output::span(Duration::from_secs(left))),
            (false, None) => String::new(),
        };
        table.row([
            one.generation.to_string(),
            one.state.to_string(),
            format!("process {}, {} old", one.pid, output::span(Duration::from_secs(one.age_seconds))),
            format!("slots {}", slots.join(" ")),
            count(one.connections),
            if one.connections == 1 { "connection" } else { "connections" }.to_owned(),
            left,
        ]);
    }
    table
}

/// How packets come in by each interface, and why so.
pub(super) fn interfaces(interfaces: &[api::Interface]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Left, Left]);
    for interface in interfaces {
        let name = if interface.name == "*" { "all" } else { &interface.name };
        table.row([
            name.to_owned(),
            interface.engine.to_string(),
            interface.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            interface.program_id.map(|id| format!("program {id}")).unwrap_or_default(),
            interface.why.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// Which worker has which receive queue, and how frames come from it.
pub(super) fn queues(interfaces: &[api::Interface]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Left, Left]);
    for interface in interfaces {
        for queue in &interface.queues {
            table.row([
                interface.name.clone(),
                format!("queue {}", queue.queue),
                format!("slot {}", queue.slot),
                format!("{}{}", queue.mode, if queue.sends { ", sends too" } else { "" }),
                if queue.places { "" } else { "the assignment places its new connections" }.to_owned(),
            ]);
        }
    }
    table
}

/// The addresses that are listened on.
pub(super) fn listeners(listeners: &[api::Listener]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left]);
    for listener in listeners {
        let certificates = match listener.certificates {
            CertificateSource::SelfSigned => "self-signed certificate",
            CertificateSource::Files => "certificates from files",
            CertificateSource::Unknown => "certificates: unknown",
        };
        let state = if listener.state == ListenerState::Closing { "closing: its last connections may end" } else { "" };
        table.row([&listener.address.to_string(), certificates, state]);
    }
    table
}

/// The servers of upstreams: how well each is, and how much it does.
pub(super) fn servers(servers: &[api::UpstreamServer]) -> Table {
    let mut table = Table::new(2, &[Left, Left, Left, Right, Left, Right, Left]);
    for server in servers {
        let time = output::span(Duration::from_secs(server.seconds));
        let health = match server.health {
            Health::Ejected => format!("ejected, {time} left"),
            Health::Warming => format!("warming up, {time} left"),
            health => format!("{health} for {time}"),
        };
        let waiting = if server.queued > 0 { format!(", {} waiting", count(server.queued)) } else { String::new() };
        let why = server.unresolved.as_ref().or(server.why.as_ref().filter(|_| server.health != Health::Up));
        table.row([
            server.upstream.clone(),
            server.server.clone(),
            health,
            count(server.in_flight),
            format!("in flight{waiting}"),
            count(server.requests_total),
            format!(
                "requests, {} failed{}",
                count(server.failures_total),
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ),
        ]);
    }
    table
}

/// Those from files, with the days they have left.
pub(super) fn certificates(certificates: &[api::Certificate]) -> Table {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut table = Table::new(2, &[Left, Left, Left]);
    for certificate in certificates {
        let (Some(file), Some(not_after)) = (&certificate.file, certificate.not_after) else { continue };
        let left = match (not_after - now) / SECONDS_OF_A_DAY {
            _ if not_after <= now => "EXPIRED".to_owned(),
            days if days < SOON => format!("EXPIRES IN {days} DAYS"),
            days => format!("expires in {days} days"),
        };
        table.row([certificate.listener.to_string(), file.display().to_string(), left]);
    }
    table
}

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
/// Days before its end at which a certificate should have been renewed.
const SOON: i64 = 14;
