//! Is a route with `listeners` reached by these listeners only, whatever authority a client sends, over each version of
//! HTTP?

use anyhow::Result;
use router_tests::lab::{Lab, PORT, peers::Curl};

/// A route that is meant for a listener which lets in clients with certificates only was reached by any other,
/// with the right authority.
#[test]
fn a_route_for_a_listener_is_reached_by_that_listener_only() -> Result<()> {
    let lab = Lab::new().workers(2).config(|config| {
        config.listeners = vec!["0.0.0.0:443".into(), "0.0.0.0:8443".into()];
        config.listen_on_tcp();
        config.rest = "[[route]]\nlisteners = [\"0.0.0.0:8443\"]\npath = \"/inner\"\nupstream = \"inner\"\n\
                       [[route]]\nupstream = \"outer\"\n\
                       [upstream.inner]\nservers = [\"respond:200\"]\n[upstream.outer]\nservers = [\"respond:404\"]\n"
            .into();
    });
    let lab = lab.start()?;
    let status = |version: &str, port: u16| -> Result<String> {
        let url = format!("https://{}/inner", lab.wire().router(port));
        let curl = Curl::over(version, lab.wire().namespace(), &url).option("--header").option("host: localhost:8443");
        curl.writing("%{http_code}").succeed()
    };
    for version in Curl::VERSIONS {
        assert_eq!(status(version, 8443)?.trim(), "200", "{version}");
        assert_eq!(status(version, PORT)?.trim(), "404", "{version}");
    }
    Ok(())
}
