use super::*;
use crate::membership::state::Presence;

fn good(text: &str) -> List {
    List::read(text, "members.toml").unwrap()
}

/// Each problem as `LINE: what | hint`.
fn problems(text: &str) -> Vec<String> {
    let error = List::read(text, "members.toml").unwrap_err();
    let problem = |p: &super::super::error::Problem| {
        let line = p.place.strip_prefix("members.toml:").unwrap();
        format!("{line}: {} | {}", p.what, p.hint)
    };
    error.problems().map(problem).collect()
}

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

const TWO: &str = "[[node]]\nnumber = 1\naddress = \"10.0.0.11\"\n\n[[node]]\nnumber = 2\naddress = \"2001:db8::12\"\n";

#[test]
fn what_is_not_said_has_defaults() {
    let list = good(TWO);
    let record = list.nodes[&number(2)].record.as_ref().unwrap();
    assert_eq!((record.port, record.weight, record.state), (6080, 100, NodeState::Up));
    assert_eq!(record.address, "2001:db8::12".parse::<IpAddr>().unwrap());
    assert_eq!(list.nodes[&number(1)].presence(), Presence::Present);
    let first = Epoch { number: 1, state: CidState::Issuing };
    assert_eq!(list.epochs, BTreeMap::from([(ConfigRotation::new(0), first)]));
}

#[test]
fn what_is_said_is_read() {
    let list = good(
        "[[node]]\nnumber = 0xffff\naddress = \"10.0.0.1\"\nport = 1\nweight = 1000\nstate = \"draining\"\n\
         [[node]]\nnumber = 7\naddress = \"10.0.0.2\"\nstate = \"gone\"\n\
         [connection_ids]\nannounced = [7, 8, 9]\nissuing = 8\n",
    );
    let record = list.nodes[&number(65_535)].record.as_ref().unwrap();
    assert_eq!((record.port, record.weight, record.state), (1, 1_000, NodeState::Draining));
    assert_eq!(list.nodes[&number(7)].presence(), Presence::Forgotten);
    let epochs: Vec<_> = list.epochs.iter().map(|(rotation, e)| (rotation.get(), e.number, e.state)).collect();
    assert_eq!(epochs, [(0, 8, CidState::Issuing), (1, 9, CidState::Announced), (6, 7, CidState::Retiring)]);
}

#[test]
fn each_problem_names_its_line_and_the_way_out() {
    let with = |more: &str| format!("{TWO}{more}\n");
    for (text, expected) in [
        (String::new(), "1: no nodes | a table [[node]] for each, with number and address"),
        ("[node]\nnumber = 1".to_owned(), "1: node: this is of type table | write [[node]], with two brackets"),
        (with("adress = \"10.0.0.9\""), "8: node.adress: unknown key | did you mean \"address\"?"),
        (with("zone = \"b\""), "8: node.zone: unknown key | known here: number, address, port, weight, state"),
        (with("port = 0"), "8: node.port: 0 is out of range | a number from 1 to 65535"),
        (with("port = 65536"), "8: node.port: 65536 is out of range | a number from 1 to 65535"),
        (with("port = -1"), "8: node.port: -1 is out of range | a number from 1 to 65535"),
        (with("weight = 1001"), "8: node.weight: 1001 is out of range | a number from 1 to 1000"),
        (with("weight = \"1\""), "8: node.weight: this is of type string | a number from 1 to 1000"),
        (
            with("state = \"drain\""),
            "8: node.state: \"drain\" is none of \"up\", \"draining\", \"gone\" | known here: up, draining, gone",
        ),
        (
            with("state = \"drainig\""),
            "8: node.state: \"drainig\" is none of \"up\", \"draining\", \"gone\" | did you mean \"draining\"?",
        ),
        (with("[[node]]\nnumber = 3"), "8: node.address: missing | each [[node]] has its own address"),
        (with("[[node]]\naddress = \"10.0.0.3\""), "8: node.number: missing | each [[node]] has its own number"),
        (
            with("[[node]]\nnumber = 0\naddress = \"10.0.0.3\""),
            "9: node.number: 0 is out of range | a number from 1 to 65535",
        ),
        (
            with("[[node]]\nnumber = 2\naddress = \"10.0.0.3\""),
            "9: node.number: 2 is another node's, too | give it a number that no node has had under these keys",
        ),
        (
            with("[[node]]\nnumber = 3\naddress = \"10.0.0.11\""),
            "10: node.address: 10.0.0.11 is another node's, too | each node has an address of its own",
        ),
        (with("nodes = 1"), "8: node.nodes: unknown key | known here: number, address, port, weight, state"),
        (
            with("[connection_ids]\nannounced = [1]\nissuing = 2"),
            "10: connection_ids.issuing: 2 is not announced | announce it on all nodes, reload them all, and issue by it \
             after that",
        ),
        (
            with("[connection_ids]\nannounced = [1, 8]\nissuing = 8"),
            "9: connection_ids.announced: 1 and 8 have the same rotation | seven in a row at most, each once: leave out \
             those that no connection uses any more",
        ),
        (with("[connection-ids]"), "8: connection-ids: unknown key | did you mean \"connection_ids\"?"),
    ] {
        assert_eq!(problems(&text), [expected], "{text}");
    }
}

#[test]
fn an_address_is_one_nodes() {
    for wrong in ["10.0.0.11:6080", "node-1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", ""] {
        let text = format!("[[node]]\nnumber = 1\naddress = \"{wrong}\"\n");
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with("3: node.address: "), "{wrong}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = format!("{TWO}weight = 0\nport = 0\n[[node]]\nnumber = 70000\naddress = 4\n");
    let lines: Vec<_> = problems(&text).iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["8", "9", "11", "12"]);
    let error = List::read(&text, "members.toml").unwrap_err();
    assert!(error.to_string().ends_with("(and 3 more problems)"), "{error}");
}

#[test]
fn what_is_no_toml_names_its_line() {
    let found = problems("[[node]]\nnumber = \n");
    assert!(found.len() == 1 && found[0].starts_with("2: "), "{found:?}");
}
