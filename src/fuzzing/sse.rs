//! The writer of Server-Sent Events, read back by the algorithm of the HTML standard (section 9.2.6).

use super::input::Input;
use crate::wire::sse;

/// What a browser makes of a stream.
#[derive(Default, Debug)]
pub(super) struct Reader {
    line: Vec<u8>,
    after_cr: bool,
    data: Option<String>,
    id: String,
    /// Last id and data of each event.
    pub(super) events: Vec<(String, String)>,
    /// The reconnection time.
    pub(super) retry: Option<u32>,
    /// Lines that a browser would ignore and that are no comment: never written.
    pub(super) strange: Vec<String>,
}

impl Reader {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                b'\r' | b'\n' => self.line_ends(),
                _ => self.line.push(byte),
            }
            self.after_cr = byte == b'\r';
        }
    }

    fn line_ends(&mut self) {
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream is UTF-8");
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                self.events.push((self.id.clone(), data));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" => self.retry = value.parse().ok(),
            "" => {}
            _ => self.strange.push(line),
        }
    }

    /// Whether nothing is half read.
    pub(super) fn is_at_rest(&self) -> bool {
        self.line.is_empty() && self.data.is_none()
    }
}

/// What is written is read back, whatever the data: ids, texts with their line ends made one, comments, and the time.
pub fn sse_writer(data: &[u8]) {
    let mut input = Input::new(data);
    let (mut out, mut reader) = (Vec::new(), Reader::default());
    let (mut expected, mut last_id, mut retry) = (Vec::new(), String::new(), None);
    while !input.is_empty() {
        let act = input.byte();
        if act & 3 == 1 {
            sse::write_comment(&mut out);
        } else if act & 3 == 2 {
            retry = Some(u32::from(act) << 20);
            sse::write_retry(&mut out, u32::from(act) << 20);
        } else {
            let id = (act & 4 != 0).then(|| String::from_utf8_lossy(input.take(usize::from(act >> 4))).into_owned());
            let id = id.map(|id| id.replace(['\r', '\n', '\0'], ""));
            let text = String::from_utf8_lossy(input.some()).into_owned();
            sse::write_event(&mut out, id.as_deref(), &text);
            last_id = id.unwrap_or(last_id);
            expected.push((last_id.clone(), text.replace("\r\n", "\n").replace('\r', "\n")));
        }
    }
    for piece in out.chunks(1 + data.len() % 7) {
        reader.feed(piece);
    }
    assert!(reader.is_at_rest());
    assert_eq!((&reader.events, reader.retry, &reader.strange), (&expected, retry, &Vec::new()));
    // Without an id, an event's data alone: a browser strips one space behind the colon, and no byte order mark within.
    assert!(out.is_empty() || out.ends_with(b"\n\n"));
}
