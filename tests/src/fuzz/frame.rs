//! Frames and what their bodies say.
//!
//! Input: choices, how the stream is cut, the stream. Its frames get right headers if the first choice is odd.

use bytes::Bytes;
use muster_protocol::{
    batch,
    frame::{Frame, FrameDecoder, FrameError, HEADER_BYTES},
    limits::{BATCH_BYTES_MAX, FRAME_BODY_BYTES_MAX},
    loss::Loss,
    message::{Message, Numbered},
    schema::Schema,
};

use super::input::{Input, put};

/// A stream of frames, whole and in pieces, and the messages in it.
pub fn frame(data: &[u8]) {
    let mut input = Input::new(data);
    let (choice, cut) = (input.byte(), usize::from(input.byte()) + 1);
    let mut stream = input.rest().to_vec();
    if choice & 1 == 1 {
        mend(&mut stream);
    }
    let (frames, end) = decoded(&stream, stream.len().max(1));
    assert_eq!(decoded(&stream, cut), (frames.clone(), end.clone()), "how it is cut makes no difference");
    let encoded: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    assert!(stream.starts_with(&encoded), "frames come back byte for byte");
    assert!(end.is_err() || encoded.len() == stream.len(), "nothing is left out silently");
    let single = Frame::decode(stream.clone().into());
    assert_eq!(single.is_ok(), end.is_ok() && frames.len() == 1, "{single:?}, {end:?}");
    frames.iter().for_each(message);
}

/// Cuts the stream into pieces of so many bytes, and these into frames.
fn decoded(stream: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut decoder = FrameDecoder::default();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, decoder.finish())
}

fn message(frame: &Frame) {
    assert!(frame.body.len() <= FRAME_BODY_BYTES_MAX);
    let Ok(message) = Message::from_frame(frame) else { return };
    let again = message.to_frame();
    assert_eq!(again.kind, frame.kind);
    assert!(again.body.len() <= frame.body.len(), "there is no shorter form");
    assert_eq!(Message::from_frame(&again).as_ref(), Ok(&message));
    match message {
        Message::Loss(numbered) => loss(&numbered),
        Message::Batch(numbered) => {
            assert!(numbered.payload.len() <= BATCH_BYTES_MAX);
            let _ = batch::peek(&numbered.payload);
        }
        Message::Schema(body) => schema(&body.payload),
        _ => {}
    }
}

fn loss(numbered: &Numbered) {
    let Ok(loss) = numbered.loss() else { return };
    let samples = loss.samples();
    assert!(samples >= loss.unnumbered && loss.lost.iter().all(|lost| samples >= u64::from(lost.samples)));
    let again: Loss = Numbered::from_loss(numbered.head, &loss).loss().expect("it was one before");
    assert_eq!(again, loss);
}

fn schema(payload: &Bytes) {
    if let Ok(schema) = Schema::decode(payload) {
        assert_eq!(schema.encoded(), payload);
    }
}

/// Makes the bytes a stream of whole frames: right magic, version and check sum; lengths and kinds stay as they are,
/// as far as they are possible.
fn mend(stream: &mut [u8]) {
    let mut rest = stream;
    while rest.len() >= HEADER_BYTES {
        put(rest, 0, b"MSTR\x01");
        put(rest, 6, &[0, 0]);
        let asked = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        let bytes = asked.min(rest.len() - HEADER_BYTES);
        put(rest, 8, &u32::try_from(bytes).expect("inputs are small").to_le_bytes());
        let (frame, after) = rest.split_at_mut(HEADER_BYTES + bytes);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[HEADER_BYTES..]);
        put(frame, 12, &crc.to_le_bytes());
        rest = after;
    }
}
