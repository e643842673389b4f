//! In which listeners two nodes differ. Stateless reset keys depend on listeners' addresses, and a node drops what is
//! forwarded to it for a listener that it lacks: all nodes should have the same.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

/// The addresses that one of two nodes has, and the other lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerDifference {
    /// Those of the first alone.
    pub here: Vec<SocketAddr>,
    /// Those of the second alone.
    pub there: Vec<SocketAddr>,
}

impl ListenerDifference {
    /// Between the listeners of this node and those of another; none if they are the same.
    pub fn between(here: &BTreeSet<SocketAddr>, there: &BTreeSet<SocketAddr>) -> Option<Self> {
        let difference =
            Self { here: here.difference(there).copied().collect(), there: there.difference(here).copied().collect() };
        (here != there).then_some(difference)
    }
}

impl fmt::Display for ListenerDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |some: &[SocketAddr]| some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (self.here.as_slice(), self.there.as_slice()) {
            (here, []) => write!(f, "{} here alone", list(here)),
            ([], there) => write!(f, "{} there alone", list(there)),
            (here, there) => write!(f, "{} here alone, {} there alone", list(here), list(there)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_of_two_lacks_is_named() {
        let set = |list: &[&str]| list.iter().map(|one| one.parse().unwrap()).collect::<BTreeSet<SocketAddr>>();
        let both = set(&["192.0.2.80:443", "[2001:db8::80]:443"]);
        assert_eq!(ListenerDifference::between(&both, &both), None);
        let (one, other) = (set(&["192.0.2.80:443"]), set(&["192.0.2.80:8443", "[2001:db8::80]:443"]));
        let said = |here, there| ListenerDifference::between(here, there).unwrap().to_string();
        assert_eq!(said(&both, &one), "[2001:db8::80]:443 here alone");
        assert_eq!(said(&one, &both), "[2001:db8::80]:443 there alone");
        assert_eq!(said(&one, &other), "192.0.2.80:443 here alone, 192.0.2.80:8443, [2001:db8::80]:443 there alone");
    }
}
