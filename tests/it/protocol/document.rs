//! Reads a page: its examples (fenced blocks) and its tables.

use std::iter::Peekable;
use std::str::Chars;

use toml::Value;

/// The page.
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
    pub(super) tables: Vec<Table>,
}

/// A fenced block: an example that is played against a server of its own.
pub(super) struct Block {
    /// Line of the fence, from 1.
    pub(super) line: usize,
    /// `http`, `sse` or `ws`.
    pub(super) language: String,
    /// `# on FILE`: the configuration, if it is not the demo.
    pub(super) config: Option<String>,
    /// `# with KEY = VALUE, ..`: limits that the server has. `# on FILE with ..`: keys of that file, wherever they stand.
    pub(super) limits: Vec<(String, Value)>,
    pub(super) steps: Vec<Step>,
}

/// Lines of one block that belong together.
#[derive(PartialEq, Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    /// Which connection, by its letter; a space if it has none.
    pub(super) on: char,
    pub(super) act: Act,
}

/// What a step does. Texts are without the mark at the line's beginning.
#[derive(PartialEq, Debug)]
pub(super) enum Act {
    /// `open ws://..`: a WebSocket is opened.
    Open(String),
    /// `>`: a request, or text messages, is sent.
    Send(Vec<String>),
    /// `<`: this arrives.
    Receive(Vec<String>),
    /// `>>`: bytes, or a frame that is no text.
    SendSpecial(Vec<String>),
    /// `<<`: a frame that is no text, or the end of the connection.
    ReceiveSpecial(Vec<String>),
    /// `$`: a command, and what it prints.
    Command(String, Vec<String>),
}

/// A table: the cells of its first line, and its rows.
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<(usize, Vec<String>)>,
}

impl Document {
    /// Reads the page; what it does not understand is an error that names the line.
    pub(super) fn read(text: &str) -> Result<Document, String> {
        let mut blocks = Vec::new();
        let mut tables: Vec<Table> = Vec::new();
        let mut in_table = false;
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let inside: Vec<_> = lines.by_ref().take_while(|(_, line)| !line.starts_with("```")).collect();
                if language == "html" {
                    continue;
                }
                blocks.push(Block::read(number, language, &inside)?);
            }
            let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
                in_table = false;
                continue;
            };
            let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().to_owned()).collect();
            match tables.last_mut().filter(|_| in_table) {
                None => tables.push(Table { head: cells, rows: Vec::new() }),
                Some(_) if inner.chars().all(|letter| "-| :".contains(letter)) => {}
                Some(table) => table.rows.push((number, cells)),
            }
            in_table = true;
        }
        Ok(Document { blocks, tables })
    }
}

impl Block {
    fn read(line: usize, language: &str, lines: &[(usize, &str)]) -> Result<Block, String> {
        if !["http", "sse", "ws"].contains(&language) {
            return Err(format!("line {line}: a block of {language:?} is neither http, sse nor ws"));
        }
        let language = language.to_owned();
        let mut block = Block { line, language, config: None, limits: Vec::new(), steps: Vec::new() };
        // What is next goes to the step before, if nothing stands between them.
        let mut joined = false;
        for &(number, line) in lines {
            if line.trim().is_empty() || line.starts_with('#') {
                joined = false;
                let on = line.strip_prefix("# on ").map(|on| on.split_once(" with ").unwrap_or((on, "")));
                block.config = on.map(|(file, _)| file.to_owned()).or(block.config);
                if let Some(limits) = line.strip_prefix("# with ").or(on.map(|(_, keys)| keys)) {
                    block.limits.extend(read_limits(limits).map_err(|why| format!("line {number}: {why}"))?);
                }
                continue;
            }
            let in_command = matches!(block.steps.last(), Some(Step { act: Act::Command(..), .. })) && joined;
            let step = read_step(number, line);
            match (step, block.steps.last_mut()) {
                (None, Some(Step { act: Act::Command(_, output), .. })) if in_command => output.push(line.to_owned()),
                (None, _) => return Err(format!("line {number}: what is {line:?}?")),
                (Some(step), Some(last)) if joined && last.on == step.on => {
                    if let Some(step) = last.act.join(step.act).map(|act| Step { act, ..step }) {
                        block.steps.push(step);
                    }
                }
                (Some(step), _) => block.steps.push(step),
            }
            joined = true;
        }
        if block.steps.len() < 2 {
            return Err(format!("line {line}: a block that shows nothing"));
        }
        Ok(block)
    }
}

impl Act {
    /// Appends the lines of another act of the same sort, or gives it back.
    fn join(&mut self, other: Act) -> Option<Act> {
        match (self, other) {
            (Act::Send(lines), Act::Send(more))
            | (Act::Receive(lines), Act::Receive(more))
            | (Act::SendSpecial(lines), Act::SendSpecial(more))
            | (Act::ReceiveSpecial(lines), Act::ReceiveSpecial(more)) => {
                lines.extend(more);
                None
            }
            (_, other) => Some(other),
        }
    }
}

fn read_step(number: usize, line: &str) -> Option<Step> {
    let step = |on, act| Some(Step { line: number, on, act });
    if let Some(command) = line.strip_prefix("$ ") {
        return step(' ', Act::Command(command.to_owned(), Vec::new()));
    }
    let mut letters = line.chars();
    let named = letters.next().filter(char::is_ascii_uppercase);
    let rest = if named.is_some() { letters.as_str() } else { line };
    let on = named.unwrap_or(' ');
    if let Some(url) = rest.trim_start().strip_prefix("open ") {
        return step(on, Act::Open(url.to_owned()));
    }
    let (mark, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let lines = vec![text.to_owned()];
    match mark {
        ">" => step(on, Act::Send(lines)),
        "<" => step(on, Act::Receive(lines)),
        ">>" => step(on, Act::SendSpecial(lines)),
        "<<" => step(on, Act::ReceiveSpecial(lines)),
        _ => None,
    }
}

/// `KEY = VALUE, KEY = VALUE`, each value as in the configuration.
fn read_limits(text: &str) -> Result<Vec<(String, Value)>, String> {
    let toml = text.replace(", ", "\n");
    let table: toml::Table = toml.parse().map_err(|error| format!("no limits: {text:?}: {error}"))?;
    Ok(table.into_iter().collect())
}

/// `"text"`, or `"text" * 100`, with `\r`, `\n`, `\t`, `\0`, `\"`, `\\` and `\x41`: bytes.
pub(super) fn read_bytes(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("no bytes: {text}");
    let mut letters = text.strip_prefix('"').ok_or_else(wrong)?.chars().peekable();
    let mut bytes = Vec::new();
    loop {
        match letters.next().ok_or_else(wrong)? {
            '"' => break,
            '\\' => bytes.push(read_escape(&mut letters).ok_or_else(wrong)?),
            letter => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    let rest: String = letters.collect();
    if rest.is_empty() {
        return Ok(bytes);
    }
    let times = rest.strip_prefix(" * ").and_then(|times| times.parse().ok()).ok_or_else(wrong)?;
    Ok(bytes.repeat(times))
}

fn read_escape(letters: &mut Peekable<Chars<'_>>) -> Option<u8> {
    Some(match letters.next()? {
        'r' => b'\r',
        'n' => b'\n',
        't' => b'\t',
        '0' => 0,
        '"' => b'"',
        '\\' => b'\\',
        'x' => {
            let mut digit = || letters.next()?.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let high = digit()?;
            high * 16 + digit()?
        }
        _ => return None,
    })
}

#[test]
fn what_is_not_understood_is_an_error() {
    let page = |inside: &str| format!("text\n```http\n{inside}\n```\n");
    for bad in [
        page("> GET / HTTP/1.1"),
        page("> a\n< b\nnonsense"),
        page("> a\n\nnonsense\n< b"),
        page("# with nothing\n> a\n< b"),
        page(">a\n<b"),
        page("a> b\na< c"),
        page("$kill\n< b"),
        "```json\n{}\n```".to_owned(),
        "```\n> a\n< b\n```".to_owned(),
    ] {
        assert!(Document::read(&bad).is_err(), "{bad}");
    }
    let good = page("# with a = 1, b = \"x\"\n> one\n>\n> two\n\n> three\nA< four\n< five\n<< end\n$ curl x\nout\nout");
    let page = Document::read(&good).expect("it is understood");
    let block = &page.blocks[0];
    let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let expected = [
        (4, ' ', Act::Send(text(&["one", "", "two"]))),
        (8, ' ', Act::Send(text(&["three"]))),
        (9, 'A', Act::Receive(text(&["four"]))),
        (10, ' ', Act::Receive(text(&["five"]))),
        (11, ' ', Act::ReceiveSpecial(text(&["end"]))),
        (12, ' ', Act::Command("curl x".to_owned(), text(&["out", "out"]))),
    ];
    assert_eq!(block.steps, expected.map(|(line, on, act)| Step { line, on, act }));
    assert_eq!(block.config, None);
    assert_eq!(block.limits, [("a".to_owned(), Value::Integer(1)), ("b".to_owned(), Value::String("x".into()))]);
}

#[test]
fn another_configuration() {
    for (line, limits) in [("# on configs/x.toml", vec![]), ("# on configs/x.toml with a = 1", vec!["a"])] {
        let page = Document::read(&format!("```ws\n{line}\nopen x\n> a\n```\n")).expect("it is understood");
        let keys: Vec<&str> = page.blocks[0].limits.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((page.blocks[0].config.as_deref(), keys), (Some("configs/x.toml"), limits), "{line}");
    }
}

#[test]
fn bytes_with_escapes() {
    assert_eq!(
        read_bytes(r#""a\x00\xFf\r\n\"\\票""#).expect("bytes"),
        [b"a\x00\xff\r\n\"\\", "票".as_bytes()].concat()
    );
    assert_eq!(read_bytes(r#""ab" * 3"#).expect("bytes"), b"ababab");
    for bad in ["a", "\"", "\"a", "\"\\q\"", "\"\\x4\"", "\"a\"b", "\"a\" * x", "\"a\"*2"] {
        assert!(read_bytes(bad).is_err(), "{bad}");
    }
}
