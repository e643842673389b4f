//! Does a request reach upstream servers of every kind (https, h2c, unix, files, fixed answers), and https servers only
//! with the right certificate?

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Origin, Running, peers::Curl};

#[test]
fn requests_reach_servers_of_every_kind() -> Result<()> {
    let mut lab = Lab::new().build()?;
    lab.home().write_certificate("origin", &["origin.test"])?;
    let origin = Origin::start(&lab, "origin")?;
    std::fs::create_dir(lab.home().path("www"))?;
    lab.home().write("www/page.html", "<p>a page</p>")?;
    let (ca, www) = (lab.home().path("origin.pem"), lab.home().path("www"));
    let key = lab.home().path("origin.key");
    let (ca, key, www) = (ca.display(), key.display(), www.display());
    let rest = format!(
        "[[route]]\npath = \"/https\"\nupstream = \"https\"\n[[route]]\npath = \"/shown\"\nupstream = \"shown\"\n\
         [[route]]\npath = \"/stranger\"\nupstream = \"stranger\"\n[[route]]\npath = \"/other\"\nupstream = \"other\"\n\
         [[route]]\npath = \"/h2c\"\nupstream = \"h2c\"\n[[route]]\npath = \"/unix\"\nupstream = \"unix\"\n\
         [[route]]\npath = \"/gone\"\nupstream = \"gone\"\n[[route]]\nupstream = \"files\"\n\
         [upstream.https]\nservers = [\"{https}\"]\ntls = {{ ca = \"{ca}\", name = \"origin.test\" }}\nhost = \"server\"\n\
         [upstream.shown]\nservers = [\"{https}\"]\n\
         tls = {{ ca = \"{ca}\", name = \"origin.test\", cert = \"{ca}\", key = \"{key}\" }}\nhost = \"fixed.test\"\n\
         [upstream.stranger]\nservers = [\"{https}\"]\ntls = {{ ca = \"{own}\", name = \"origin.test\" }}\n\
         [upstream.other]\nservers = [\"{https}\"]\ntls = {{ ca = \"{ca}\", name = \"other.test\" }}\n\
         [upstream.h2c]\nservers = [\"{h2c}\"]\n[upstream.unix]\nservers = [\"{unix}\"]\n\
         [upstream.gone]\nservers = [\"respond:410\"]\n[upstream.files]\nservers = [\"files:{www}\"]\n",
        https = origin.https(),
        h2c = origin.h2c(),
        unix = origin.unix(),
        own = lab.home().path("certificate.pem").display(),
    );
    lab.reconfigure(|config| {
        config.rest = rest;
        config.listen_on_tcp();
    });
    lab.start_agent()?;

    let server = origin.https().replace("https://", "");
    let own = lab.wire().router(443).ip();
    let client = lab.wire().client4()[0];
    for (version, via) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        let told = format!("for={client} via={via} quic-router\n");
        for (path, expected) in [
            ("/https", format!("HTTP/2.0 https host={server} sni=origin.test client=NONE {told}")),
            ("/shown", format!("HTTP/2.0 https host=fixed.test sni=origin.test client=SUCCESS {told}")),
            ("/h2c", format!("HTTP/2.0 http host={own} sni= client= {told}")),
            ("/unix", format!("HTTP/1.1 http host={own} sni= client= {told}")),
            ("/page.html", "<p>a page</p>".to_owned()),
        ] {
            assert_eq!(ask(&lab, version, path)?, (200, expected), "{version} {path}");
        }
        let (refused, sentence) = ask(&lab, version, "/stranger")?;
        ensure!(refused == 502 && sentence.contains("cannot be reached"), "{version}: {refused} {sentence}");
        assert_eq!(ask(&lab, version, "/other")?.0, 502, "{version}: it is not who was asked for");
        assert_eq!(ask(&lab, version, "/gone")?, (410, String::new()), "{version}");
        assert_eq!(ask(&lab, version, "/none.html")?.0, 404, "{version}");
    }
    Ok(())
}

/// Status and body.
fn ask(lab: &Running, version: &str, path: &str) -> Result<(u16, String)> {
    let curl = Curl::over(version, lab.wire().namespace(), &lab.url(path));
    let said = curl.option("--write-out").option("\\n%{http_code}").succeed()?;
    let (body, status) = said.trim_end().rsplit_once('\n').unwrap_or_default();
    Ok((status.parse()?, body.to_owned()))
}
