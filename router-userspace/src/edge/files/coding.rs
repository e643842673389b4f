//! Which compressed sibling of a file a client would rather have: RFC 9110 section 12.5.3.

use http::{HeaderMap, HeaderValue, header};

/// How a sibling is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// `NAME.br`
    Brotli,
    /// `NAME.gz`
    Gzip,
}

impl Coding {
    /// In `Content-Encoding`.
    pub(super) fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        })
    }

    /// The name of a file's sibling.
    pub(super) fn sibling(self, path: &str) -> String {
        let suffix = match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        };
        [path, suffix].concat()
    }
}

/// How much a client likes each, in thousandths. It always gets the file itself rather than
/// nothing.
pub(super) struct Codings {
    brotli: u16,
    gzip: u16,
    identity: u16,
}

impl Codings {
    /// By `Accept-Encoding`; without it, none.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let (mut brotli, mut gzip, mut identity, mut others) = (None, None, None, None);
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
        for element in lists.flat_map(|list| list.split(',')) {
            let (coding, parameters) = element.split_once(';').unwrap_or((element, "q=1"));
            let place = match &*coding.trim().to_ascii_lowercase() {
                "br" => &mut brotli,
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut others,
                _ => continue,
            };
            *place = Some(weight(parameters).unwrap_or(0));
        }
        let weight = |own: Option<u16>| own.or(others).unwrap_or(0);
        Self { brotli: weight(brotli), gzip: weight(gzip), identity: weight(identity) }
    }

    /// What is at least as welcome as the file itself, the best first; of equals the shorter.
    pub(super) fn by_preference(&self) -> impl Iterator<Item = Coding> {
        let (brotli, gzip) = ((self.brotli, Coding::Brotli), (self.gzip, Coding::Gzip));
        let ordered = if self.gzip > self.brotli { [gzip, brotli] } else { [brotli, gzip] };
        let identity = self.identity;
        ordered.into_iter().filter(move |&(weight, _)| weight > 0 && weight >= identity).map(|(_, coding)| coding)
    }
}

/// RFC 9110 section 12.4.2, in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.trim().split_once('=')?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !name.eq_ignore_ascii_case("q") || fraction.len() > 3 || !fraction.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}
