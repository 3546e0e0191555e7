//! What the page and the static picture say, without a browser.

use netpoll_traces::{Caption, Trace, html, svg, text};
use serde_json::Value;

mod made;

fn page(trace: &Trace, caption: &Caption) -> String {
    let mut page = Vec::new();
    html::write(trace, caption, &mut page).expect("a Vec takes everything");
    String::from_utf8(page).expect("text")
}

/// The trace as the page's script gets it.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"trace\">").expect("the page has its trace");
    let (json, _) = rest.split_once("</script>").expect("the trace has an end");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_page_has_every_record_with_its_time_and_text() {
    let trace = made::trace();
    let data = data(&page(&trace, &made::caption(&trace)));
    let mut time = 0;
    for (at, record) in trace.records.iter().enumerate() {
        time += data["time"][at].as_u64().expect("a time");
        let event = data["event"][at].as_u64().expect("a text's place") as usize;
        assert_eq!(time, record.t_ns, "record {at}");
        assert_eq!(data["texts"][event], text::event(&trace, record), "record {at}");
    }
    assert_eq!(data["event"].as_array().map(Vec::len), Some(trace.records.len()));
    assert_eq!(data["guilt"]["at"], 29);
}

#[test]
fn nothing_in_a_trace_can_end_the_script_or_become_markup() {
    let trace = made::trace();
    let page = page(&trace, &made::caption(&trace));
    assert_eq!(page.matches("</script>").count(), 3, "the page's own");
    assert!(!page.contains("<by>") && !page.contains("<fd5>"));
    let (_, json) = page.split_once("id=\"trace\">").expect("the page has its trace");
    assert!(!json.contains('\u{2028}'), "a line separator in a script");
    assert_eq!(data(&page)["title"], "made <by> \"hand\" & small</script>\u{2028}");
}

#[test]
fn the_page_loads_nothing() {
    let page = page(&made::trace(), &Caption::default());
    assert!(page.contains("default-src 'none'"), "its policy forbids it");
    for way in ["src=", "href=", "@import", "url(", "fetch(", "http:", "https:"] {
        let found = page.find(way).map(|at| page[at..].chars().take(60).collect::<String>());
        // The namespace of SVG is a name, not an address.
        let found = found.filter(|found| !found.starts_with("http://www.w3.org/2000/svg"));
        assert_eq!(found, None, "{way} in the page");
    }
}

#[test]
fn a_guilty_record_that_was_not_kept_is_not_shown_as_another_one() {
    let trace = made::trace();
    let mut caption = made::caption(&trace);
    caption.guilt.as_mut().expect("a violation").at = Some(trace.records.len());
    assert_eq!(data(&page(&trace, &caption))["guilt"]["at"], Value::Null);
    assert!(svg::render(&trace, &caption).contains("readiness"));
}

#[test]
fn pictures_of_one_trace_are_the_same() {
    let trace = made::trace();
    let caption = made::caption(&trace);
    assert_eq!(page(&trace, &caption), page(&trace, &caption));
    assert_eq!(svg::render(&trace, &caption), svg::render(&trace, &caption));
}

#[test]
fn the_static_picture_shows_the_window_around_the_guilty_record() {
    let trace = made::trace();
    let caption = made::caption(&trace);
    let rows = |picture: &str| picture.matches("<use ").count();
    assert_eq!(rows(&svg::render(&trace, &caption)), svg::WINDOW);
    assert_eq!(rows(&svg::render_range(&trace, &caption, 20..40)), 20);
    assert_eq!(rows(&svg::render_range(&trace, &caption, 55..99)), trace.records.len() - 55);
    assert_eq!(rows(&svg::render(&Trace::default(), &Caption::default())), 0);
    let picture = svg::render_range(&trace, &caption, 20..40);
    let guilty = "w1: read fd5: Parked(#0) -&gt; Ready \u{2715}</text>";
    assert!(picture.contains(guilty), "{picture}");
    assert!(picture.contains("\u{2715} readiness</text>"), "{picture}");
    assert!(picture.contains("made &lt;by&gt;"), "{picture}");
    // From the edge to the ready goroutine, one arrow each.
    for why in ["raises", "queues", "is dispatched", "changes", "releases", "makes runnable"] {
        assert!(picture.contains(&format!("<title>{why}</title>")), "no arrow says {why}");
    }
}
