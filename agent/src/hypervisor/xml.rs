//! Owns how XML is written for the hypervisor: a tree of elements, escaped by the serialiser and by nothing else.
//!
//! Must not: know what a domain or a volume is, or read XML. There is no way to put raw markup into a tree.

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use reeve_common::text::is_printable;

/// Spaces a level of the written tree is moved to the right, so that `virsh dumpxml` and the golden files read alike.
const INDENT: usize = 2;

/// An element with its attributes and either text or children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: Option<String>,
    children: Vec<Element>,
}

/// An element of this name, still empty. Names are constants of the program: only values come from elsewhere.
pub(crate) fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), text: None, children: Vec::new() }
}

impl Element {
    /// With one more attribute.
    #[allow(clippy::needless_pass_by_value)] // names and numbers are passed as they stand
    pub(crate) fn attribute(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, representable(&value.to_string())));
        self
    }

    /// With this text as its only content.
    #[allow(clippy::needless_pass_by_value)] // names and numbers are passed as they stand
    pub(crate) fn text(mut self, text: impl ToString) -> Self {
        self.text = Some(representable(&text.to_string()));
        self
    }

    /// With one more child.
    pub(crate) fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// With more children.
    pub(crate) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// With a child, if there is one.
    pub(crate) fn maybe(self, child: Option<Self>) -> Self {
        self.children(child)
    }

    /// The tree as a document.
    pub(crate) fn to_document(&self) -> String {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', INDENT);
        // Writing into a vector cannot fail; if it ever did, the cut document would not parse and libvirt refuses it.
        let _ = self.write(&mut writer);
        String::from_utf8_lossy(&writer.into_inner()).into_owned()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let attributes = self.attributes.iter().map(|(name, value)| (*name, value.as_str()));
        let start = BytesStart::new(self.name).with_attributes(attributes);
        if self.text.is_none() && self.children.is_empty() {
            return writer.write_event(Event::Empty(start));
        }
        writer.write_event(Event::Start(start))?;
        if let Some(text) = &self.text {
            writer.write_event(Event::Text(BytesText::new(text)))?;
        }
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(self.name)))
    }
}

/// Escaping cannot help characters that XML does not have at all (control characters, U+FFFE, U+FFFF); they become
/// `?`, and so does invisible formatting, as everywhere in the product.
fn representable(text: &str) -> String {
    let allowed = |character: char| is_printable(character) && !matches!(character, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|character| if allowed(character) { character } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_in_values_stays_text() {
        let tree = element("a").attribute("b", "\"'<&>\n\0").child(element("c").text("</c><x/>]]>&amp;"));
        let document = tree.to_document();
        let parsed = roxmltree::Document::parse(&document).unwrap();
        let root = parsed.root_element();
        assert_eq!(root.attribute("b"), Some("\"'<&>??"));
        assert_eq!(root.descendants().filter(roxmltree::Node::is_element).count(), 2);
        assert_eq!(root.first_element_child().and_then(|child| child.text()), Some("</c><x/>]]>&amp;"));
    }

    proptest! {
        #[test]
        fn any_value_is_read_back_as_it_was(text in any::<String>(), attribute in any::<String>()) {
            let document = element("a").attribute("b", &attribute).text(&text).to_document();
            let parsed = roxmltree::Document::parse(&document).unwrap();
            let root = parsed.root_element();
            prop_assert_eq!(root.attribute("b").unwrap_or_default(), representable(&attribute));
            prop_assert_eq!(root.text().unwrap_or_default(), representable(&text));
            prop_assert_eq!(root.children().filter(roxmltree::Node::is_element).count(), 0);
        }
    }
}
