//! Routes: what they match, what is never matched, and what they cannot have.

use super::{LISTENER, notices, parse};

/// Whether a route that an earlier one leaves nothing for is noticed, and no other.
#[test]
fn routes_that_never_match_are_noticed() {
    for (earlier, later, never) in [
        ("", "path = \"/x\"", true),
        ("path = \"/x\"", "", false),
        ("path = \"/x\"", "path = \"/xy\"", false),
        ("path = \"/x\"", "path = \"/x/\"", true),
        ("path = \"/x/\"", "path = \"/x/y\"", true),
        ("path = \"/x/y/..\"", "path = \"//%78/y\"", true),
        ("host = \"a.b\"", "", false),
        ("", "host = \"a.b\"", true),
        ("host = \"A.b\"", "host = \"a.b\"", true),
        ("host = \"*.b\"", "host = \"a.b\"", true),
        ("host = \"*.b\"", "host = \"b\"", false),
        ("host = \"*.b\"", "host = \"*.b\"", true),
        ("host = \"*.b\"", "host = \"*.a.b\"", true),
        ("host = \"*.a.b\"", "host = \"*.b\"", false),
        ("host = \"a.b\"", "host = \"*.a.b\"", false),
        ("methods = [\"GET\"]", "", false),
        ("", "methods = [\"GET\"]", true),
        ("methods = [\"GET\", \"HEAD\"]", "methods = [\"HEAD\"]", true),
        ("methods = [\"GET\"]", "methods = [\"GET\", \"HEAD\"]", false),
        ("headers = { x = true }", "", false),
        ("", "headers = { x = true }", true),
        ("headers = { x = true }", "headers = { X = \"1\" }", true),
        ("headers = { x = \"1\" }", "headers = { x = true }", false),
        ("headers = { x = \"1\" }", "headers = { x = \"2\" }", false),
        ("headers = { x = \"1\" }", "headers = { x = \"1\", y = true }", true),
        ("headers = { x = \"1\", y = true }", "headers = { x = \"1\" }", false),
    ] {
        let text = format!("[[route]]\n{earlier}\nredirect = \"/1\"\n[[route]]\n{later}\nredirect = \"/2\"");
        let expected: &[_] =
            if never { &["6: route: never used, an earlier one matches all that it would"] } else { &[] };
        assert_eq!(notices(&text), expected, "{text}");
    }
    let listener = "listeners = [\"127.0.0.1:4433\"]";
    for (earlier, later, never) in [("", listener, true), (listener, "", false), (listener, listener, true)] {
        let text = format!("[[route]]\n{earlier}\nredirect = \"/1\"\n[[route]]\n{later}\nredirect = \"/2\"");
        assert_eq!(!notices(&text).is_empty(), never, "{text}");
    }
}

#[test]
fn raw_routes_that_never_match_are_noticed() {
    let raw = |earlier: &str, later: &str| {
        let route = |more: &str| format!("[[route]]\nupstream = \"a\"\n{more}\n");
        format!("{}{}[upstream.a]\nservers = [\"unix:/run/a\"]", route(earlier), route(later))
    };
    for (earlier, later, never) in [
        ("alpn = \"x\"", "alpn = \"x\"\nhost = \"*.a\"", true),
        ("alpn = \"x\"\nhost = \"*.a\"", "alpn = \"x\"\nhost = \"b.a\"", true),
        ("alpn = \"x\"\nhost = \"*.a\"", "alpn = \"x\"", false),
        ("alpn = \"x\"", "alpn = \"y\"", false),
        ("alpn = \"x\"", "", false),
        ("", "alpn = \"x\"", false),
    ] {
        assert_eq!(!notices(&raw(earlier, later)).is_empty(), never, "{earlier} {later}");
    }
}

#[test]
fn routes_are_called_by_what_they_match() {
    let text = r#"
        [[route]]
        redirect = "/1"
        [[route]]
        redirect = "/2"
        [[route]]
        redirect = "/3"
        [[route]]
        host = "*.Example.com"
        path = "/a/"
        redirect = "/4"
        [[route]]
        name = "given_1.a-b"
        redirect = "/5"
        [[route]]
        alpn = "echo"
        upstream = "a"
        [[route]]
        alpn = "echo"
        host = "a.example"
        upstream = "a"
        [[route]]
        alpn = "\u0007 \""
        upstream = "a"
        [upstream.a]
        servers = ["tcp://a:1"]
    "#;
    let config = parse(&format!("{LISTENER}{text}")).unwrap();
    let names: Vec<_> = config.routes.iter().map(|route| &**route.name()).collect();
    let expected =
        ["/", "/ #2", "/ #3", "*.example.com/a/", "given_1.a-b", "alpn echo", "alpn echo #2", r#"alpn \u{7} \""#];
    assert_eq!(names, expected);
}

#[test]
fn all_that_is_wrong_with_a_route_is_found_at_once() {
    let text = format!(
        "{LISTENER}[[route]]\nname = \"a b\"\nhost = \"a b\"\npath = \"x\"\nmethods = [\"G T\"]\nheaders = {{ \"a b\" = true }}\n\
         upstream = \"absent\"\nredirect_status = 200\nrequest_headers = {{ remove = [\"te\"] }}\n\
         response_headers = {{ remove = [\"te\"] }}\n"
    );
    let error = parse(&text).unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(|problem| problem.to_string()).collect();
    let expected: Vec<_> = (4..=12).map(|line| format!("router.toml:{line}: route.")).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}: not {expected}");
    }
}

#[test]
fn raw_routes_have_nothing_of_requests() {
    let text = format!(
        "{LISTENER}[[route]]\nalpn = \"x\"\nupstream = \"a\"\npath = \"/\"\nmethods = []\nheaders = {{}}\nredirect = \"/\"\n\
         redirect_status = 308\nrequest_headers = {{}}\nresponse_headers = {{}}\n[upstream.a]\nservers = [\"tcp://a:1\"]\n"
    );
    let error = parse(&text).unwrap_err();
    let keys = ["path", "methods", "headers", "redirect", "redirect_status", "request_headers", "response_headers"];
    let expected = keys.iter().enumerate().map(|(index, key)| {
        format!("router.toml:{}: route.{key}: a raw route (one with alpn) has no {key}", 6 + index)
    });
    assert_eq!(error.problems().iter().map(ToString::to_string).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_route_is_of_listeners_that_there_are() {
    let route = |listeners: &str| format!("{LISTENER}[[route]]\nlisteners = [{listeners}]\nredirect = \"/\"\n");
    let config = parse(&route("\"127.0.0.1:4433\"")).unwrap();
    let [here, elsewhere] = ["127.0.0.1:4433", "127.0.0.1:4434"].map(|address| address.parse().unwrap());
    assert!(config.routes[0].is_of(here) && !config.routes[0].is_of(elsewhere));
    for (listeners, why) in [
        ("\"127.0.0.1:4434\"", "\"127.0.0.1:4434\" is no listener's address"),
        ("\"a\"", "\"a\" is no listener's address"),
        ("\"127.0.0.1:4433\", \"127.0.0.1:4433\"", "\"127.0.0.1:4433\" is listed twice"),
    ] {
        let error = parse(&route(listeners)).unwrap_err();
        let said: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(said, [format!("router.toml:4: route.listeners: {why}")]);
    }
}
