//! Extension 0x0001: answering a client's RequestExtensions (specification, extensions/0x0001).
//!
//! Owns the answer; remembering what was granted is the connection's owner's.

use crate::{
    Message,
    message::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess, Seq064K},
};

/// The answer of a server that supports `supported` and requires nothing, and the extensions it grants.
///
/// Success names those of the requested extensions that are supported; when there is none, the specification wants an
/// Error, which lists the unsupported ones. After either the connection goes on.
pub fn answer(request: RequestExtensions, supported: &[u16]) -> (Message, Vec<u16>) {
    let request_id = request.request_id;
    let (granted, unsupported): (Vec<u16>, Vec<u16>) = request
        .requested_extensions
        .into_inner()
        .into_iter()
        .partition(|extension| supported.contains(extension));
    let list = |extensions: Vec<u16>| {
        Seq064K::new(extensions).expect("a part of a list that fitted in a message fits in one")
    };
    let answer = if granted.is_empty() {
        RequestExtensionsError {
            request_id,
            unsupported_extensions: list(unsupported),
            required_extensions: list(Vec::new()),
        }
        .into()
    } else {
        RequestExtensionsSuccess {
            request_id,
            supported_extensions: list(granted.clone()),
        }
        .into()
    };
    (answer, granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extensions: &[u16]) -> RequestExtensions {
        RequestExtensions {
            request_id: 7,
            requested_extensions: Seq064K::new(extensions.to_vec()).unwrap(),
        }
    }

    #[test]
    fn success_names_the_supported_part_of_the_request() {
        let (answer, granted) = answer(request(&[2, 3, 0x4001]), &[2, 0x4001, 9]);
        let Message::RequestExtensionsSuccess(success) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(success.request_id, 7);
        assert_eq!(success.supported_extensions.into_inner(), [2, 0x4001]);
        assert_eq!(granted, [2, 0x4001]);
    }

    #[test]
    fn a_request_of_which_nothing_is_supported_gets_an_error_with_all_of_it() {
        let (answer, granted) = answer(request(&[2, 3]), &[]);
        let Message::RequestExtensionsError(error) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(error.unsupported_extensions.into_inner(), [2, 3]);
        assert!(error.required_extensions.is_empty());
        assert!(granted.is_empty());
    }
}
