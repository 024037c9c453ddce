//! Server-Sent Events (HTML standard, section 9.2.5): meaning to bytes.

/// Appends one event. `id`, a line without NUL, becomes the client's `Last-Event-ID`. The data is split at LF, CR and CRLF;
/// the client joins its lines by LF.
pub fn write_event(out: &mut Vec<u8>, id: Option<&str>, data: &str) {
    if let Some(id) = id {
        debug_assert!(!id.contains(['\r', '\n', '\0']), "an id is one line");
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    let mut rest = data.as_bytes();
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    out.push(b'\n');
}

/// Appends a comment: nothing for the client, but a sign of life for what stands between.
pub fn write_comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// Appends how long the client waits before it comes back.
pub fn write_retry(out: &mut Vec<u8>, millis: u32) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The standard's algorithm (section 9.2.6), line by line: every event's last id and data, and the reconnection time.
    fn read(stream: &str) -> (Vec<(String, String)>, Option<u32>) {
        let (mut events, mut retry) = (Vec::new(), None);
        let (mut id, mut data) = (String::new(), String::new());
        for line in stream.replace("\r\n", "\n").replace('\r', "\n").split_terminator('\n') {
            if line.is_empty() {
                if let Some(text) = data.strip_suffix('\n') {
                    events.push((id.clone(), text.to_owned()));
                }
                data.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => data = data + value + "\n",
                "id" => id = value.to_owned(),
                "retry" => retry = value.parse().ok(),
                _ => assert_eq!(field, "", "no other field is written"),
            }
        }
        (events, retry)
    }

    #[test]
    fn rows() {
        let rows = [
            (None, "{}", "data: {}\n\n"),
            (Some("e1-7"), "x", "id: e1-7\ndata: x\n\n"),
            (None, "", "data: \n\n"),
            (None, " x", "data:  x\n\n"),
            (None, "a\nb", "data: a\ndata: b\n\n"),
            (None, "a\r\nb", "data: a\ndata: b\n\n"),
            (None, "a\rb", "data: a\ndata: b\n\n"),
            (None, "a\n\rb\r\n", "data: a\ndata: \ndata: b\ndata: \n\n"),
            (Some(""), "小明", "id: \ndata: 小明\n\n"),
        ];
        for (id, data, expected) in rows {
            let mut out = Vec::new();
            write_event(&mut out, id, data);
            assert_eq!(str::from_utf8(&out), Ok(expected), "{data:?}");
        }
        let mut out = Vec::new();
        write_retry(&mut out, 1000);
        write_comment(&mut out);
        assert_eq!(out, b"retry: 1000\n\n:\n\n");
    }

    proptest! {
        #[test]
        fn reads_back(events in prop::collection::vec(("[a-z0-9-]{0,6}", "([ a小:\r\n]|\\PC){0,12}"), 0..6)) {
            let mut out = Vec::new();
            write_retry(&mut out, 1500);
            for (id, data) in &events {
                write_comment(&mut out);
                write_event(&mut out, Some(id), data);
            }
            let expected: Vec<_> = events
                .into_iter()
                .map(|(id, data)| (id, data.replace("\r\n", "\n").replace('\r', "\n")))
                .collect();
            prop_assert_eq!(read(str::from_utf8(&out).unwrap()), (expected, Some(1500)));
        }
    }
}
