//! Answers in gzip, for clients that say they take it (RFC 9110, 12.5.3).
//!
//! What streams keeps streaming: each chunk is flushed, so that its lines can be read before the next one comes. A body
//! that breaks off breaks off compressed too: the end of the gzip stream is only written after the end of the body, so
//! half an answer never looks like a whole one.

use std::io::Write as _;

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};

/// Shorter answers are sent as they are: one packet holds them either way.
pub(super) const PLAIN_BYTES_MAX: u64 = 1024;

/// This much is compressed at a time, some hundred microseconds of work, so that other connections get their turn.
const PIECE_BYTES: usize = 16 * 1024;

/// What shrinks. Event streams are not among them: proxies hold compressed ones back.
const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "application/openmetrics-text",
    "application/problem+json",
    "application/x-ndjson",
    "text/plain",
];

/// Compresses an answer to a request of this method and with these headers, if that is wanted and worth it.
pub(super) fn compress(method: &Method, asked: &HeaderMap, mut response: Response) -> Response {
    if !shrinks(response.headers()) {
        return response;
    }
    // Caches have to tell the two forms apart, also where this one is not compressed.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let told =
        response.headers().get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok()?.parse().ok());
    // The answer to HEAD tells the length of the body that it leaves out; that of a stream tells none.
    let length: Option<u64> =
        if method == Method::HEAD { told } else { told.or(response.body().size_hint().exact()) };
    let is_short = length.is_some_and(|bytes| bytes <= PLAIN_BYTES_MAX);
    if is_short || response.status() == StatusCode::NOT_MODIFIED || !takes_gzip(asked) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if method == Method::HEAD { response } else { response.map(gzip) }
}

fn shrinks(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    MEDIA_TYPES.contains(&media_type) && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Returns whether `Accept-Encoding` allows gzip: named, or meant by `*`, and not with a weight of 0.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let mut of_any = false;
    for coding in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse().ok());
        let is_wanted = weight.is_some_and(|weight: f32| weight > 0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return is_wanted,
            "*" => of_any = is_wanted,
            _ => {}
        }
    }
    of_any
}

fn gzip(body: Body) -> Body {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let start = (body.into_data_stream(), Some(encoder), Bytes::new());
    Body::from_stream(stream::try_unfold(start, |(mut chunks, encoder, mut rest)| async move {
        let Some(mut encoder) = encoder else { return Ok::<_, axum::Error>(None) };
        if rest.is_empty() {
            let Some(chunk) = chunks.next().await else {
                let end = encoder.finish().map_err(axum::Error::new)?;
                return Ok(Some((Bytes::from(end), (chunks, None, rest))));
            };
            rest = chunk?;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        encoder.write_all(&piece).map_err(axum::Error::new)?;
        if rest.is_empty() {
            encoder.flush().map_err(axum::Error::new)?;
        }
        let out = std::mem::take(encoder.get_mut());
        Ok(Some((Bytes::from(out), (chunks, Some(encoder), rest))))
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn taking(line: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(line))])
    }

    fn json(body: Body) -> Response {
        Response::builder().header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
    }

    fn is_gzip(response: &Response) -> bool {
        response.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
    }

    #[test]
    fn gzip_is_what_the_client_says_it_takes() {
        for (line, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, *;q=0.1", true),
            ("gzip;q=0, *", false),
            ("*, gzip; q=0.0", false),
            ("identity", false),
            ("gzip;q=much", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&taking(line)), takes, "{line}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn only_what_is_long_and_shrinks_is_compressed() {
        let long = || Body::from("x".repeat(5000));
        let compressed = compress(&Method::GET, &taking("gzip"), json(long()));
        assert!(is_gzip(&compressed) && compressed.headers()[header::VARY] == "accept-encoding");
        let plain = compress(&Method::GET, &HeaderMap::new(), json(long()));
        assert!(!is_gzip(&plain) && plain.headers()[header::VARY] == "accept-encoding");
        assert!(!is_gzip(&compress(&Method::GET, &taking("gzip"), json(Body::from("short")))));
        let image = Response::builder().header(header::CONTENT_TYPE, "image/png").body(long()).unwrap();
        let image = compress(&Method::GET, &taking("gzip"), image);
        assert!(!is_gzip(&image) && !image.headers().contains_key(header::VARY));
    }

    #[tokio::test]
    async fn each_chunk_can_be_read_before_the_next_one_comes() {
        let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
        let body = stream::unfold(receive, |mut receive| async {
            let chunk = receive.recv().await?;
            Some((Ok::<_, axum::Error>(chunk), receive))
        });
        let response = compress(&Method::GET, &taking("gzip"), json(Body::from_stream(body)));
        let mut chunks = response.into_body().into_data_stream();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let line = format!("{{\"line\":{number}}}\n").repeat(3000);
            sent.extend_from_slice(line.as_bytes());
            send.send(line.into()).await.unwrap();
            // A piece at a time, until all of the line is there.
            loop {
                received.extend(chunks.next().await.unwrap().unwrap());
                let mut readable = vec![0; sent.len() + 1];
                let mut decoder = GzDecoder::new(&received[..]);
                let mut length = 0;
                while let Ok(more) = decoder.read(&mut readable[length..]) {
                    length += more;
                    if more == 0 {
                        break;
                    }
                }
                if readable[..length] == sent {
                    break;
                }
            }
        }
        drop(send);
        while let Some(chunk) = chunks.next().await {
            received.extend(chunk.unwrap());
        }
        let mut whole = Vec::new();
        GzDecoder::new(&received[..]).read_to_end(&mut whole).unwrap();
        assert!(whole == sent);
    }

    #[tokio::test]
    async fn what_breaks_off_has_no_end() {
        let broken =
            [Ok(Bytes::from("x".repeat(5000))), Err(axum::Error::new(std::io::Error::other("broken")))];
        let response = compress(&Method::GET, &taking("gzip"), json(Body::from_stream(stream::iter(broken))));
        let mut chunks = response.into_body().into_data_stream();
        let mut received = Vec::new();
        let outcome = loop {
            match chunks.next().await.unwrap() {
                Ok(chunk) => received.extend(chunk),
                Err(error) => break error,
            }
        };
        assert!(outcome.to_string().contains("broken"));
        assert!(GzDecoder::new(&received[..]).read_to_end(&mut Vec::new()).is_err());
    }
}
