//! HTTP responses on a connection that stays open (RFC 9112).

use crate::codec::response_head;

/// A whole response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Bytes on the wire.
    pub(crate) bytes: usize,
}

/// The first response in `bytes`; `None` if it is not all here. One that ends with its connection is not supported.
///
/// # Errors
/// It is no response.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<Response>, &'static str> {
    let Some(head) = response_head(bytes)? else { return Ok(None) };
    let rest = &bytes[head.head_bytes..];
    let status = head.status;
    if matches!(status, 100..=199 | 204 | 304) {
        return Ok(Some(Response { status, body: vec![], bytes: head.head_bytes }));
    }
    if head.is_chunked {
        let found = chunks(rest)?;
        return Ok(found.map(|(body, used)| Response { status, body, bytes: head.head_bytes + used }));
    }
    let Some(length) = head.body_bytes else { return Err("a response without a length") };
    let length = usize::try_from(length).map_err(|_| "an endless body")?;
    let body = rest.get(..length).map(<[u8]>::to_vec);
    Ok(body.map(|body| Response { status, body, bytes: head.head_bytes + length }))
}

/// A chunked body and its bytes on the wire; `None` if it is not all here. Trailers are not kept.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("a chunk without a size"),
        };
        at += line;
        let size = usize::try_from(size).ok().filter(|size| *size < 1 << 30).ok_or("an endless chunk")?;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_at_every_cut() {
        let rows: &[(&[u8], u16, &[u8])] = &[
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
            (b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", 304, b""),
            (
                b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                202,
                b"abcde",
            ),
        ];
        for (wire, status, body) in rows {
            for cut in 0..wire.len() {
                assert_eq!(response(&wire[..cut]), Ok(None), "{cut}");
            }
            let found = response(&[wire, &b"HTTP/1.1"[..]].concat()).unwrap().unwrap();
            assert_eq!((found.status, &found.body[..], found.bytes), (*status, *body, wire.len()));
        }
        assert!(response(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
