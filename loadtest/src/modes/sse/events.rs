//! An event stream, read as the HTML standard says (section 9.2.6).

/// Reads a stream that comes in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    /// The last byte of a piece was a carriage return: a line feed right behind it ends no line of its own.
    after_return: bool,
    id: Option<String>,
    data: String,
    has_data: bool,
    wrong: u64,
}

impl Events {
    /// Calls `each` with the id that the event itself has, and its data. Comments and events without data are no events.
    pub(crate) fn feed(&mut self, input: &[u8], mut each: impl FnMut(Option<&str>, &str)) {
        let mut rest = input;
        if !rest.is_empty() && std::mem::take(&mut self.after_return) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&rest[..end]);
            self.line_ends(&mut each);
            let returned = rest[end] == b'\r';
            rest = &rest[end + 1..];
            match rest.first() {
                Some(b'\n') if returned => rest = &rest[1..],
                Some(_) => {}
                None => self.after_return = returned,
            }
        }
        self.line.extend_from_slice(rest);
    }

    /// How many lines were not UTF-8.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong
    }

    fn line_ends(&mut self, each: &mut impl FnMut(Option<&str>, &str)) {
        let line = std::mem::take(&mut self.line);
        match std::str::from_utf8(&line) {
            Ok("") => {
                if self.has_data {
                    each(self.id.as_deref(), self.data.strip_suffix('\n').unwrap_or(&self.data));
                }
                self.id = None;
                self.data.clear();
                self.has_data = false;
            }
            Ok(text) => self.field(text),
            Err(_) => self.wrong += 1,
        }
        // The line's room is used again.
        self.line = line;
        self.line.clear();
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
                self.has_data = true;
            }
            "id" => self.id = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_pieces_of_any_size() {
        let stream = "retry: 1000\n\nid: e-0\ndata: {\"a\":1}\n\n:\n\ndata: two\ndata: lines\n\nid:x\r\ndata:no space\r\n\r\nid: only\n\n\
                      event: e\ndata\n\ndata: 你好\rid: e-9\r\rdata: cut";
        let wanted = [
            (Some("e-0"), "{\"a\":1}"),
            (None, "two\nlines"),
            (Some("x"), "no space"),
            (None, ""),
            (Some("e-9"), "你好"),
        ];
        for size in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                events.feed(piece, |id, data| found.push((id.map(str::to_owned), data.to_owned())));
            }
            let found: Vec<_> = found.iter().map(|(id, data)| (id.as_deref(), data.as_str())).collect();
            assert_eq!(found, wanted, "by {size}");
            assert_eq!(events.wrong(), 0);
        }
        let mut events = Events::default();
        events.feed(b"data: \xff\n\n", |_, _| panic!("it has no data"));
        assert_eq!(events.wrong(), 1);
    }
}
