//! Does the command line have the documented exit codes, one line of error, JSON with a schema, and verbs that do what
//! they say?

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use anyhow::{Context, Result};
use router_tests::{
    content::hex,
    lab::{Lab, Running},
    packets::cases,
};
use router_userspace::agent::api::{
    self, CidConfigurations, Counters, DecodedCid, Explanation, Flows, Status, Workers,
};
use serde::de::DeserializeOwned;

const USAGE: i32 = 2;
const NO_AGENT: i32 = 3;

#[test]
fn without_an_agent_verbs_exit_with_3() -> Result<()> {
    let lab = Lab::new().build()?;
    let verbs: [&[&str]; 5] =
        [&["status"], &["workers", "list"], &["workers", "drain", "0"], &["flows", "list"], &["counters"]];
    for verb in verbs {
        let said = lab.cli(verb)?;
        assert_eq!(said.status.code(), Some(NO_AGENT), "{said:?}");
        let lines: Vec<_> = said.stderr.lines().collect();
        let control = lab.home().control().display().to_string();
        assert!(lines[0].starts_with("quic-router: ") && lines[0].contains(&control), "{lines:?}");
        assert!(lines.len() <= 2 && said.stdout.is_empty(), "{said:?}");
    }
    assert_eq!(health_check(&lab)?, (Some(NO_AGENT), String::new()));
    Ok(())
}

#[test]
fn wrong_usage_exits_with_2() -> Result<()> {
    let lab = Lab::new().build()?;
    let verbs: [&[&str]; 4] = [&[], &["stauts"], &["workers", "drain"], &["workers", "drain", "256"]];
    for verb in verbs {
        let said = lab.cli(verb)?;
        assert_eq!(said.status.code(), Some(USAGE), "{said:?}");
    }
    Ok(())
}

#[test]
fn every_reading_verb_speaks_json() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    assert_eq!(json::<Status>(&lab, &["status"])?.totals.accepted, 5);
    assert_eq!(health_check(&lab)?, (Some(0), String::new()));
    assert_eq!(json::<Workers>(&lab, &["workers", "list"])?.workers.len(), 4);
    assert!(json::<Flows>(&lab, &["flows", "list"])?.entries > 0);
    assert!(json::<Counters>(&lab, &["counters"])?.stages.iter().all(|stage| stage.closes));
    let admission: api::Admission = json(&lab, &["admission", "status"])?;
    assert!(
        admission.limits.len() == 3 && admission.maps.iter().any(|map| map.map == "sketch" && map.octets >= 524_288),
        "{admission:?}"
    );
    assert_eq!(json::<api::AdmissionTop>(&lab, &["admission", "top"])?.sources.len(), 0);
    for verb in [&["doctor"][..], &["version"]] {
        let _: serde_json::Value = json(&lab, verb)?;
    }
    // And to people.
    let admission = [&["admission", "status"][..], &["admission", "top"]];
    for verb in [&["status"][..], &["workers", "list"], &["flows", "list"], &["counters"]].into_iter().chain(admission)
    {
        let said = lab.cli(verb)?.succeeded()?.stdout;
        assert!(said.lines().count() > 1 && !said.starts_with('{'), "{said}");
    }
    Ok(())
}

#[test]
fn flows_can_be_filtered() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().get("/bytes/1000").connections(10).holding(Duration::from_secs(20)).start()?;
    lab.await_accepted(&clients, 10)?;
    let all = json::<Flows>(&lab, &["flows", "list"])?;
    let some = all.flows.iter().find(|flow| flow.packets > 0).context("a flow with packets")?;
    let shown = json::<Flows>(&lab, &["flows", "show", &some.cid])?;
    assert!(shown.flows.len() == 1 && shown.flows[0].slot == some.slot, "{shown:?}");
    let of_slot = json::<Flows>(&lab, &["flows", "list", "--slot", &some.slot.to_string()])?;
    assert!(!of_slot.flows.is_empty() && of_slot.flows.iter().all(|flow| flow.slot == some.slot), "{of_slot:?}");
    let peer = lab.wire().client4()[0].to_string();
    assert!(!json::<Flows>(&lab, &["flows", "list", "--peer", &peer])?.flows.is_empty());
    assert!(json::<Flows>(&lab, &["flows", "list", "--peer", "192.0.2.1"])?.flows.is_empty());
    assert_eq!(lab.cli(&["flows", "show", "00112233"])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn connection_ids_are_decoded_and_generated() -> Result<()> {
    let lab = Lab::new().start()?;
    let generated = json::<DecodedCid>(&lab, &["cid", "generate", "--slot", "2"])?;
    let again = json::<DecodedCid>(&lab, &["cid", "decode", &generated.cid])?;
    assert_eq!((again.node, again.slot, again.length), (Some(1), Some(2), 17), "{again:?}");
    assert_eq!((again.encoding.as_deref(), again.routable, again.why_not), (Some("single pass"), true, None));
    for (cid, why) in [
        (&generated.cid[..32], "it has 16 octets, ours have 17"),
        (&format!("50{}", &generated.cid[2..]), "no configuration has rotation 2"),
        (&format!("ff{}", &generated.cid[2..]), "rotation 7 says that it was issued without a configuration"),
        (&format!("10{}", "00".repeat(16)), "it belongs to node "),
    ] {
        let decoded = json::<DecodedCid>(&lab, &["cid", "decode", cid])?;
        let says = decoded.why_not.as_deref().unwrap_or_default();
        assert!(!decoded.routable && says.starts_with(why), "{decoded:?}");
    }
    let rotated = json::<CidConfigurations>(&lab, &["cid", "rotate"])?.configurations;
    assert_eq!((rotated.len(), rotated[0].rotation, rotated[1].rotation), (2, 1, 0));
    assert_eq!(json::<CidConfigurations>(&lab, &["cid", "list"])?.configurations.len(), 2);
    let people = lab.cli(&["cid", "list"])?.succeeded()?.stdout;
    assert!(people.starts_with("1  issuing ") && people.contains("\n0  retiring "), "{people}");
    Ok(())
}

#[test]
fn a_packet_is_explained() -> Result<()> {
    let lab = Lab::new().connection_id("encryption", "\"none\"").start()?;
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "short header for slot 3").context("the case")?;
    let explained = json::<Explanation>(&lab, &["explain", &hex(&case.frame)])?;
    assert_eq!((explained.verdict.as_str(), explained.reason.as_str()), ("deliver to slot 3", "cid"));
    let finding = "it decodes, by configuration 0 (clear), to slot 3 of this node";
    assert!(explained.steps.iter().any(|step| step.finding == finding), "{explained:?}");
    Ok(())
}

/// A file of hex, standard input, and captures that are cut short in one way or the other.
#[test]
fn packets_in_files_are_explained() -> Result<()> {
    let lab = Lab::new().connection_id("encryption", "\"none\"").start()?;
    let cases = cases();
    let frame =
        |name: &str| cases.iter().find(|case| case.name == name).map(|case| case.frame.clone()).context("the case");
    let (short, initial) = (frame("short header for slot 3")?, frame("second Initial, with our connection ID")?);
    let explain = |file: &Path| lab.cli(&["explain", &file.display().to_string()]);
    let two = lab.home().write("two.hex", &format!("{}\n\n{}\n", hex(&short), hex(&initial)))?;
    let said = explain(&two)?.succeeded()?.stdout;
    assert_eq!(said.matches("deliver to slot 3 (cid)").count(), 2, "{said}");
    let capture = |captured: usize| {
        let words = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 1, 2, 3, captured as u32, initial.len() as u32];
        let file = lab.home().path("capture.pcap");
        fs::write(&file, [words.map(u32::to_be_bytes).concat(), initial[..captured].to_vec()].concat())?;
        anyhow::Ok(file)
    };
    let said = explain(&capture(128)?)?.succeeded()?.stdout;
    assert!(said.contains("only 128 of") && said.contains("deliver to slot 3 (cid)"), "{said}");
    let said = explain(&capture(60)?)?;
    assert!(said.status.code() == Some(1) && said.stderr.contains("too little of it was captured"), "{said:?}");
    let whole = fs::read(capture(128)?)?;
    fs::write(lab.home().path("cut.pcap"), &whole[..whole.len() - 1])?;
    let said = explain(&lab.home().path("cut.pcap"))?;
    assert!(said.stderr.contains("the capture is cut off in packet 1"), "{said:?}");
    let said = explain(&lab.home().write("empty", "")?)?;
    assert!(said.stderr.contains("it is empty"), "{said:?}");
    Ok(())
}

#[test]
fn check_changes_nothing() -> Result<()> {
    let lab = Lab::new().build()?;
    let file = lab.home().write("config.toml", &lab.config_text())?;
    let file = file.to_str().context("UTF-8")?;
    let said = lab.cli(&["check", "--config", file])?.succeeded()?;
    assert!(!lab.home().pins().exists() && !lab.home().control().exists(), "{said:?}");
    assert!(!lab.is_xdp_attached()?);
    lab.home().write("config.toml", "[router]\nworkers = \"many\"\n")?;
    assert_eq!(lab.cli(&["check", "--config", file])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn only_root_can_open_the_control_socket() -> Result<()> {
    let lab = Lab::new().start()?;
    let mode = fs::metadata(lab.home().control())?.permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    Ok(())
}

/// What `verb` says with `--json`, which has to have schema 1.
fn json<T: DeserializeOwned>(lab: &Running, verb: &[&str]) -> Result<T> {
    let said = lab.cli(&[verb, &["--json"]].concat())?;
    let value: serde_json::Value = serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))?;
    assert_eq!(value["schema"], 1, "{value}");
    serde_json::from_value(value).with_context(|| format!("{said:?}"))
}

/// What a health check gets to see of the agent: the exit code, and all that was printed.
fn health_check(lab: &Running) -> Result<(Option<i32>, String)> {
    let said = lab.cli(&["status", "--quiet"])?;
    Ok((said.status.code(), said.stdout + &said.stderr))
}
