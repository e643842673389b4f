//! What a line looks like. Whatever a client said is escaped, so that it can neither end a line nor
//! forge one, nor speak to the terminal of its reader.

use std::{fmt::Display, io::Write as _, time::Duration};

use super::{
    super::record::{Protocol, Record},
    date::Date,
};

/// A JSON object. What is not known is not there; the names are those of docs/metrics.md.
pub(super) fn json(record: &Record<'_>, line: &mut Vec<u8>) {
    let mut object = Object { line };
    object.begin(record);
    object.text("protocol", record.protocol.name());
    object.plain("peer", record.peer);
    object.known("method", record.method);
    object.known("host", record.host);
    object.known("path", record.path);
    object.number("status", record.status);
    object.text("outcome", record.outcome.name());
    object.seconds("duration_seconds", Some(record.duration));
    object.seconds("first_byte_seconds", record.first_byte);
    object.number("received_bytes", Some(record.received));
    object.number("sent_bytes", Some(record.sent));
    object.known("route", record.route);
    object.known("upstream", record.upstream);
    object.known("server", record.server);
    object.known("user_agent", record.user_agent);
    object.known("referer", record.referer);
    if let Some(trace) = record.trace {
        object.plain("trace_id", trace);
    }
    object.known("sni", record.tls.sni);
    if record.tls.early_data {
        object.number("early_data", Some(true));
    }
    object.known("client_certificate", record.tls.client_certificate);
    line.extend_from_slice(b"}\n");
}

/// Apache's combined format (`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`), with its
/// escapes: `\"`, `\\`, and `\xhh` for what is not printable ASCII.
pub(super) fn combined(record: &Record<'_>, line: &mut Vec<u8>) {
    let Date { year, day, hour, minute, second, .. } = Date::of(record.when);
    let month = Date::of(record.when).month_name();
    write(line, record.peer.ip());
    write(line, format_args!(" - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \""));
    match (record.method, record.path) {
        (None, None) => line.push(b'-'),
        (method, path) => {
            escape(method.unwrap_or("-").as_bytes(), line);
            line.push(b' ');
            escape(path.unwrap_or("-").as_bytes(), line);
            write(line, format_args!(" {}", version(record.protocol)));
        }
    }
    line.extend_from_slice(b"\" ");
    or_hyphen(record.status, line);
    line.push(b' ');
    or_hyphen(Some(record.sent).filter(|&sent| sent > 0), line);
    for field in [record.referer, record.user_agent] {
        line.extend_from_slice(b" \"");
        escape(field.unwrap_or(b"-"), line);
        line.push(b'"');
    }
    line.push(b'\n');
}

/// As Apache and nginx write it.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http3 => "HTTP/3.0",
        Protocol::Http2 => "HTTP/2.0",
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Raw => "-",
    }
}

fn or_hyphen(number: Option<impl Display>, line: &mut Vec<u8>) {
    match number {
        Some(number) => write(line, number),
        None => line.push(b'-'),
    }
}

fn escape(text: &[u8], line: &mut Vec<u8>) {
    for &octet in text {
        match octet {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', octet]),
            b' '..=b'~' => line.push(octet),
            _ => write(line, format_args!("\\x{octet:02x}")),
        }
    }
}

/// A JSON object that is being written.
struct Object<'l> {
    line: &'l mut Vec<u8>,
}

impl Object<'_> {
    /// RFC 3339
    fn begin(&mut self, record: &Record<'_>) {
        let Date { year, month, day, hour, minute, second, millisecond } = Date::of(record.when);
        let (date, time) = (format_args!("{year:04}-{month:02}-{day:02}"), format_args!("{hour:02}:{minute:02}"));
        write(self.line, format_args!("{{\"time\":\"{date}T{time}:{second:02}.{millisecond:03}Z\""));
    }

    fn known<T: AsRef<[u8]>>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        write(self.line, format_args!(",\"{name}\":\""));
        for chunk in value.as_ref().utf8_chunks() {
            self.escape(chunk.valid());
            for octet in chunk.invalid() {
                write(self.line, format_args!("\\\\x{octet:02x}"));
            }
        }
        self.line.push(b'"');
    }

    /// Of what needs no escapes.
    fn plain(&mut self, name: &str, value: impl Display) {
        write(self.line, format_args!(",\"{name}\":\"{value}\""));
    }

    fn number(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            write(self.line, format_args!(",\"{name}\":{value}"));
        }
    }

    fn seconds(&mut self, name: &str, value: Option<Duration>) {
        let shown = value.map(|value| (value.as_secs(), value.subsec_micros()));
        if let Some((seconds, micros)) = shown {
            self.number(name, Some(format_args!("{seconds}.{micros:06}")));
        }
    }

    /// RFC 8259 section 7, and what else ends a line or begins an escape sequence somewhere.
    fn escape(&mut self, text: &str) {
        let mut plain = 0;
        for (at, character) in text.char_indices() {
            let escaped = match character {
                '"' | '\\' => true,
                '\u{2028}' | '\u{2029}' => true,
                _ => character.is_control(),
            };
            if escaped {
                self.line.extend_from_slice(&text.as_bytes()[plain..at]);
                plain = at + character.len_utf8();
                match character {
                    '"' | '\\' => self.line.extend_from_slice(&[b'\\', character as u8]),
                    _ => write(self.line, format_args!("\\u{:04x}", u32::from(character))),
                }
            }
        }
        self.line.extend_from_slice(&text.as_bytes()[plain..]);
    }
}

fn write(line: &mut Vec<u8>, value: impl Display) {
    // Writing to memory cannot fail.
    let _ = write!(line, "{value}");
}
