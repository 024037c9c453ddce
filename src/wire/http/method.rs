//! The methods that are known at all. Which of them a path has is the routes' business; one that is not known is refused
//! with 501 (RFC 9110 section 9.1) before anything is made of it.

/// The registered methods, the most frequent first, and those that are in wide use without being registered.
const KNOWN: &str = "GET POST HEAD OPTIONS PUT DELETE PATCH QUERY TRACE CONNECT \
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF \
    MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE \
    UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH NOTIFY PURGE SUBSCRIBE UNSUBSCRIBE";

/// Whether this token is a known method.
pub(super) fn is_known(method: &[u8]) -> bool {
    KNOWN.split(' ').any(|known| known.as_bytes() == method)
}
