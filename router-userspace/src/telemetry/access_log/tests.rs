//! What is written, and what becomes of what cannot be.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use nix::sys::stat::Mode;

use super::{super::*, *};
use crate::address::Validated;

/// For what takes no time unless something is wrong.
const LONG: Duration = Duration::from_secs(20);

fn peer() -> Validated {
    Validated::assumed("[2001:db8::7]:4433")
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn full() -> Record<'static> {
    let mut headers = http::HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().unwrap());
    Record {
        duration: Duration::from_micros(1_000_250),
        first_byte: Some(Duration::from_micros(12_000)),
        method: Some("GET"),
        host: Some("example.com"),
        path: Some("/a?b=c"),
        route: Some("site"),
        upstream: Some("api"),
        server: Some("http://127.0.0.1:8080"),
        status: Some(200),
        received: 5,
        sent: 1_234,
        user_agent: Some(b"curl/8.0"),
        referer: Some(b"https://example.com/"),
        trace: Some(TraceContext::of(&headers).trace_id()),
        tls: Tls { sni: Some("example.com"), early_data: true, client_certificate: Some(b"CN=me") },
        ..Record::new(at(971_211_336) + Duration::from_millis(7), Protocol::Http3, peer())
    }
}

fn json(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    line::json(record, &mut line);
    String::from_utf8(line).unwrap()
}

fn combined(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    line::combined(record, &mut line);
    String::from_utf8(line).unwrap()
}

/// A file of its own for a test, gone at its end.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("quic-router-access-{}-{name}", std::process::id())))
    }

    fn destination(&self) -> Destination {
        Destination::File(self.0.clone())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_line_of_json() {
    let expected = concat!(
        r#"{"time":"2000-10-10T20:55:36.007Z","protocol":"HTTP/3","peer":"[2001:db8::7]:4433","method":"GET","#,
        r#""host":"example.com","path":"/a?b=c","status":200,"outcome":"complete","duration_seconds":1.000250,"#,
        r#""first_byte_seconds":0.012000,"received_bytes":5,"sent_bytes":1234,"route":"site","upstream":"api","#,
        r#""server":"http://127.0.0.1:8080","user_agent":"curl/8.0","referer":"https://example.com/","#,
        r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","sni":"example.com","early_data":true,"#,
        r#""client_certificate":"CN=me"}"#,
        "\n"
    );
    assert_eq!(json(&full()), expected);
    let stream = Record { outcome: Outcome::Cancelled, ..Record::new(at(0), Protocol::Raw, peer()) };
    let expected = concat!(
        r#"{"time":"1970-01-01T00:00:00.000Z","protocol":"raw","peer":"[2001:db8::7]:4433","#,
        r#""outcome":"client_cancelled","duration_seconds":0.000000,"received_bytes":0,"sent_bytes":0}"#,
        "\n"
    );
    assert_eq!(json(&stream), expected);
}

#[test]
fn each_field_of_json_is_documented() {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json(&full())).unwrap();
    let document = include_str!("../../../../docs/metrics.md");
    let (_, section) = document.split_once("\n## The access log\n").unwrap();
    let documented = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let mut documented: Vec<_> = documented.map(|(name, _)| name).collect();
    documented.sort_unstable();
    let mut written: Vec<_> = fields.keys().map(String::as_str).collect();
    written.sort_unstable();
    assert_eq!(documented, written);
}

#[test]
fn a_line_of_apaches() {
    let expected = concat!(
        r#"2001:db8::7 - - [10/Oct/2000:20:55:36 +0000] "GET /a?b=c HTTP/3.0" 200 1234 "#,
        r#""https://example.com/" "curl/8.0""#,
        "\n"
    );
    assert_eq!(combined(&full()), expected);
    let stream = Record::new(at(0), Protocol::Raw, Validated::assumed("[::ffff:192.0.2.1]:1"));
    assert_eq!(combined(&stream), "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"-\" - - \"-\" \"-\"\n");
}

#[test]
fn no_client_forges_a_line() {
    let evil = b"x\"}\n{\"time\":\\ \x1b[2J\x7f \xc2\x9b \xff\xfe \xe2\x80\xa8 \xc3\xa9\r\0";
    let record = Record {
        path: Some("/\"\n\r\\\u{85}"),
        user_agent: Some(evil),
        ..Record::new(at(0), Protocol::Http11, peer())
    };
    let line = json(&record);
    assert!(line.contains(concat!(
        r#""user_agent":"x\"}\u000a{\"time\":\\ \u001b[2J\u007f \u009b \\xff\\xfe \u2028 "#,
        "é",
        r#"\u000d\u0000""#
    )));
    assert!(line.contains(r#""path":"/\"\u000a\u000d\\\u0085""#), "{line}");
    assert_eq!(line.chars().filter(|c| c.is_control()).collect::<Vec<_>>(), ['\n']);
    let back: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(back["path"], "/\"\n\r\\\u{85}");
    assert_eq!(back["user_agent"], "x\"}\n{\"time\":\\ \x1b[2J\x7f \u{9b} \\xff\\xfe \u{2028} é\r\0");

    let line = combined(&record);
    assert!(
        line.contains(r#""- /\"\x0a\x0d\\\xc2\x85 HTTP/1.1" - - "-" "x\"}\x0a{\"time\":\\ \x1b[2J\x7f "#),
        "{line}"
    );
    assert!(line.ends_with(concat!(r#"\xc2\x9b \xff\xfe \xe2\x80\xa8 \xc3\xa9\x0d\x00""#, "\n")), "{line}");
    assert!(line.trim_end_matches('\n').bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{line}");
}

#[test]
fn lines_of_all_clones_are_appended_to_the_file() {
    let path = Path::new("appended");
    fs::write(&path.0, "before\n").unwrap();
    let log = AccessLog::open(path.destination(), AccessLogFormat::Combined).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let log = log.clone();
            thread::spawn(move || (0..500).for_each(|_| log.write(&full())))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(log.flush(LONG));
    assert_eq!(fs::read_to_string(&path.0).unwrap(), "before\n".to_owned() + &combined(&full()).repeat(2_000));
    assert_eq!(log.dropped(), 0);
}

#[test]
fn after_a_rotation_lines_go_to_a_new_file() {
    let (path, rotated) = (Path::new("rotated"), Path::new("rotated.1"));
    let log = AccessLog::open(path.destination(), AccessLogFormat::Json).unwrap();
    log.write(&full());
    assert!(log.flush(LONG));
    fs::rename(&path.0, &rotated.0).unwrap();
    log.write(&full());
    assert!(log.flush(LONG));
    log.reopen().unwrap();
    log.write(&Record::new(at(0), Protocol::Raw, peer()));
    assert!(log.flush(LONG));
    assert_eq!(fs::read_to_string(&rotated.0).unwrap(), json(&full()).repeat(2));
    assert_eq!(fs::read_to_string(&path.0).unwrap(), json(&Record::new(at(0), Protocol::Raw, peer())));
    assert_eq!(fs::metadata(&path.0).unwrap().permissions().mode() & 0o7777 & !0o640, 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = Path::new("no-folder/log");
    let error = AccessLog::open(path.destination(), AccessLogFormat::Json).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", path.0.display())), "{error}");
}

/// A pipe without a reader: the writers go on, and each line is either read later or counted.
#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    let path = Path::new("pipe");
    nix::unistd::mkfifo(&path.0, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    // Open both ways, so that opening either end does not wait.
    let both = OpenOptions::new().read(true).write(true).open(&path.0).unwrap();
    let log = AccessLog::open(path.destination(), AccessLogFormat::Json).unwrap();
    let agent = vec![b'x'; 4_096];
    let record = Record { user_agent: Some(&agent), ..full() };
    let length = json(&record).len();
    let (mut written, most) = (0, 4 * QUEUE_MAX / length);
    while written < most && log.dropped() == 0 {
        log.write(&record);
        written += 1;
    }
    assert!(log.dropped() > 0, "{written} lines and none dropped");
    assert!((written + 1) * length > QUEUE_MAX, "{written} lines of {length} octets fill the queue");
    let successor = log.successor(path.destination(), AccessLogFormat::Json).unwrap();
    assert_eq!(successor.dropped(), log.dropped());
    let expected = written - usize::try_from(log.dropped()).unwrap();
    // With the writers' ends closed, reading comes to an end.
    let reader = File::open(&path.0).unwrap();
    drop((log, successor, both));
    let whole = json(&record);
    let lines = BufReader::new(reader).lines().map(|line| line.unwrap() + "\n");
    assert_eq!(lines.inspect(|line| assert_eq!(*line, whole)).count(), expected);
}

/// A disk that has room for a part of a batch, and more later.
#[test]
fn a_line_that_was_cut_off_does_not_spoil_the_next() {
    let (path, later) = (Path::new("cut"), Path::new("cut.later"));
    nix::unistd::mkfifo(&path.0, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let both = OpenOptions::new().read(true).write(true).open(&path.0).unwrap();
    // Not waiting, so that a full pipe is an error as a full disk is.
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path.0).unwrap();
    let (_queue, messages) = sync_channel(1);
    let state = Arc::new(State::default());
    let mut writer = Writer { messages, file, state, batch: Vec::new(), fails: false, torn: false };
    let dropped = |writer: &Writer| writer.state.dropped.load(Relaxed);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    writer.batch = line.repeat(100);
    writer.write();
    // A pipe holds 65,536 octets: 65 lines, and 536 octets of one.
    assert_eq!((dropped(&writer), writer.torn, writer.fails), (35, true, true));
    writer.batch = line.clone();
    writer.write();
    assert_eq!((dropped(&writer), writer.torn), (36, true));
    let mut whole = vec![0; 65_536];
    (&both).read_exact(&mut whole).unwrap();
    writer.batch = line.clone();
    writer.write();
    assert_eq!((dropped(&writer), writer.torn, writer.fails), (36, false, false));
    let mut after = vec![0; 1_001];
    (&both).read_exact(&mut after).unwrap();
    assert_eq!(after, [b"\n", &line[..]].concat());
    // Another file has nothing to be ended.
    writer.torn = true;
    *writer.state.next.lock().unwrap() = Some(File::create(&later.0).unwrap());
    writer.batch = line.clone();
    writer.write();
    assert_eq!(fs::read(&later.0).unwrap(), line);
}

/// A disk that is full.
#[test]
fn lines_that_cannot_be_written_are_counted() {
    let log = AccessLog::open(Destination::File("/dev/full".into()), AccessLogFormat::Json).unwrap();
    log.write(&full());
    log.write(&full());
    assert!(log.flush(LONG));
    assert_eq!(log.dropped(), 2);
}
