//! `[connection_id]`: a length that holds what it has to, a server ID, a key that can be read.

use router_common::connection_id::codec::MIN_NONCE_LENGTH;

use super::places;
use crate::config::{
    ConnectionIdPlan, Encryption, ServerId,
    error::{Findings, Place},
    key_file,
    keys::{CONNECTION_ID, RawConnectionId},
    octets,
    raw::At,
    server_id::{self, Wrong},
    suggest::nearest,
};

/// Octets of a server ID made of node ID and slot.
const NODE_AND_SLOT: usize = 3;

const KEY_FILE_EXAMPLE: &str = "encryption = \"file:/etc/quic-router/cid.key\"";

pub(super) fn check(raw: &RawConnectionId, findings: &mut Findings<'_>) -> ConnectionIdPlan {
    check_encoding(raw.encoding.as_ref(), findings);
    let server_id = server_id(raw.server_id.as_ref(), findings);
    let encryption = encryption(raw.encryption.as_ref(), findings);
    if let (Some(At { place, .. }), Encryption::Auto) = (&raw.server_id, &encryption) {
        findings.notice(
            *place,
            "connection_id.server_id: the load balancer in front can't read it, because it is encrypted with a key \
             that stays here (mend with encryption = \"none\", or \"file:PATH\" with the load balancer's key)",
        );
    }
    ConnectionIdPlan {
        length: length(raw, server_id.as_ref(), findings),
        server_id,
        encryption,
        describe_length: CONNECTION_ID.describe_length.read(&raw.describe_length, findings),
        lifetime: CONNECTION_ID.lifetime.read(&raw.lifetime, findings),
    }
}

fn check_encoding(raw: Option<&At<String>>, findings: &mut Findings<'_>) {
    if let Some(At { place, value: encoding }) = raw
        && encoding != "quic-lb"
    {
        findings.problem(*place, CONNECTION_ID.encoding.name(), format_args!("\"{encoding}\" is not known"));
        findings.hint("encoding = \"quic-lb\"");
    }
}

fn server_id(raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Option<ServerId> {
    let At { place, value: text } = raw?;
    match server_id::read(text) {
        Ok(server_id) => Some(server_id),
        Err(Wrong { why, hint }) => {
            findings.problem(*place, CONNECTION_ID.server_id.name(), why);
            findings.hint(hint);
            // The shortest there is, so that the length isn't called wrong too.
            ServerId::new(&[0])
        }
    }
}

/// One AES block behind the first octet is the default.
fn length(raw: &RawConnectionId, server_id: Option<&ServerId>, findings: &mut Findings<'_>) -> u8 {
    let key = &CONNECTION_ID.length;
    let (usual, longest) = (*key.default(), *key.kind().range.end());
    let server_id_length = server_id.map_or(NODE_AND_SLOT, |server_id| server_id.as_slice().len());
    let shortest = (1 + server_id_length + MIN_NONCE_LENGTH) as i64;
    let parts =
        format!("1 octet, {server_id_length} of server ID and at least {MIN_NONCE_LENGTH} of nonce make {shortest}");
    match (&raw.length, &raw.server_id) {
        (Some(At { place, value }), _) => {
            if *value < shortest {
                findings.problem(*place, key.name(), format_args!("{value} is too short: {parts}"));
            } else if *value > longest.into() {
                let why = format!("{value} is too long: a connection ID has at most {longest} octets");
                findings.problem(*place, key.name(), why);
            }
            u8::try_from(*value).unwrap_or(usual)
        }
        (None, Some(At { place, .. })) if i64::from(usual) < shortest => {
            findings.problem(*place, key.name(), format_args!("{usual}, the default, is too short: {parts}"));
            findings.hint(format!("length = {longest}"));
            usual
        }
        (None, Some(_) | None) => usual,
    }
}

fn encryption(raw: Option<&At<String>>, findings: &mut Findings<'_>) -> Encryption {
    let Some(At { place, value }) = raw else { return Encryption::Auto };
    if let Some(path) = value.strip_prefix("file:") {
        return key_in_file(*place, path, findings);
    }
    match value.as_str() {
        "auto" => return Encryption::Auto,
        "none" => return Encryption::None,
        // Not quoted: errors are logged.
        key if octets::from_text(key).is_some_and(|octets| octets.len() == 16) => {
            findings.problem(
                *place,
                CONNECTION_ID.encryption.name(),
                "a key does not stand here, where others may read it",
            );
            findings.hint(format!("put it into a file: {KEY_FILE_EXAMPLE}"));
        }
        unknown => {
            // Nor what may be a key, but for a slip.
            let quoted = if unknown.len() <= QUOTED { format!("\"{unknown}\"") } else { "this".to_owned() };
            let why = format!("{quoted} is none of \"auto\", \"none\", \"file:PATH\"");
            findings.problem(*place, CONNECTION_ID.encryption.name(), why);
            findings.hint(match nearest(unknown, ["auto", "none"]) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => "\"file:PATH\" takes the key of a file".to_owned(),
            });
        }
    }
    Encryption::Auto
}

/// Octets of text that can be no key.
const QUOTED: usize = 12;

fn key_in_file(place: Place, path: &str, findings: &mut Findings<'_>) -> Encryption {
    if path.is_empty() {
        findings.problem(place, CONNECTION_ID.encryption.name(), "\"file:\" names no file");
        findings.hint(KEY_FILE_EXAMPLE);
        return Encryption::Auto;
    }
    let path = places::base(place, findings.name()).join(path);
    if let Err(error) = key_file::read(&path) {
        findings.problem(place, CONNECTION_ID.encryption.name(), &error);
        findings.hint(error.hint());
    }
    Encryption::File(path)
}
