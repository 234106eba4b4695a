//! A reader of the XML that answers are made of: elements, text and the five named escapes, nothing else.

/// The text of all elements of this name, unescaped; an error if it is not well-formed.
pub(super) fn texts(xml: &str, wanted: &str) -> Result<Vec<String>, String> {
    let (mut open, mut found, mut rest) = (Vec::<&str>::new(), Vec::new(), xml);
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('<') {
        text += &unescaped(before)?;
        let (tag, after) = after.split_once('>').ok_or("a tag is not closed")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            if name == wanted {
                found.push(std::mem::take(&mut text));
            }
        } else {
            let name = tag.split(' ').next().unwrap_or_default();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(format!("<{tag}> is no name"));
            }
            open.push(name);
        }
        text.clear();
        if open.is_empty() && !rest.is_empty() {
            return Err("something follows the root".into());
        }
    }
    if open.is_empty() && rest.is_empty() { Ok(found) } else { Err("the end is missing".into()) }
}

fn unescaped(text: &str) -> Result<String, String> {
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("{bad:?} must not stand in XML"));
    }
    let mut pieces = text.split('&');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(';').ok_or("& without ;")?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            "#13" => '\r',
            _ => return Err(format!("&{name}; is not known")),
        });
        out += rest;
    }
    Ok(out)
}

/// A bare carriage return would be read as a line feed.
fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// What XML can carry of a text.
pub(super) fn carried(text: &str) -> String {
    text.chars().map(|c| if c == '\r' || allowed(c) { c } else { '\u{fffd}' }).collect()
}
