//! What a connection hands over with a request.

use super::interim::Interim;
use crate::edge::{Serving, Site, client::Client, http3::early_data::Handshake};

/// What there is to know of a request beside the request.
pub(in crate::edge) struct RequestContext<'r> {
    pub(in crate::edge) site: &'r Site,
    pub(in crate::edge) serving: &'r Serving,
    pub(in crate::edge) client: &'r Client,
    /// Where responses go that come before the response, if the client can be sent any.
    pub(in crate::edge) interim: Option<&'r Interim>,
    /// Of a request that came in 0-RTT: whether the handshake has been completed since.
    pub(in crate::edge) early: Option<&'r Handshake>,
}
