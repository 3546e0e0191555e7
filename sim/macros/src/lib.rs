//! The attribute `#[netpoll_sim::test]`. It is documented and exported by `netpoll-sim`.

mod arguments;
mod marks;

use proc_macro::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, ItemFn, ReturnType, parse_macro_input};

use arguments::Arguments;

/// Makes a test of a function: a simulated program that is tried under many seeds.
///
/// The function takes no arguments and returns nothing or a `Result<(), E>` with `E: Debug`. What it becomes is a plain
/// `#[test]` that calls [`Sim::check`](struct.Sim.html#method.check): so names, filters, `#[ignore]`, `#[should_panic]`,
/// `--exact`, nextest and debuggers work as they always do.
///
/// | argument | means | without it |
/// |---|---|---|
/// | `seeds = 500`, `seeds = 100..200` | the seeds | 1,000 from 0 on |
/// | `faults = none`, `light`, `chaos`, `swarm`, or an expression | what strikes: `Faults` or `Profile` | `light` |
/// | `workers = 3` | the workers of the runtime | 2 |
/// | `granularity = syscall`, `atomic` | where threads may be switched | `syscall` |
/// | `time_limit = "30s"` | how long one run may take in real time: `ms`, `s` or `m` | `"60s"` |
/// | `catches_panics` | panics that the program catches are no failures | they are |
///
/// A run takes some hundred microseconds where dependencies are optimised, and ten times as long where they are not: put
/// `[profile.dev.package."*"] opt-level = 1` into your `Cargo.toml`.
///
/// Marks in the function's body (`sometimes!`) must be true in some run, also those that no run comes to.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    let function = parse_macro_input!(item as ItemFn);
    match expand(&arguments, function) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

fn expand(arguments: &Arguments, function: ItemFn) -> Result<proc_macro2::TokenStream, Error> {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let refuse = |span, why: &str| Err(Error::new(span, format!("a simulated test {why}")));
    if let Some(first) = sig.inputs.first() {
        return refuse(
            first.span(),
            "takes no arguments: what is random comes from `netpoll_sim::rand`",
        );
    }
    if let Some(keyword) = sig.asyncness {
        return refuse(
            keyword.span,
            "is no async function: netpoll's calls block, and goroutines run meanwhile",
        );
    }
    if !sig.generics.params.is_empty() {
        return refuse(sig.generics.span(), "has no generic parameters");
    }
    if let Some(other) = attrs.iter().find(|attr| attr.path().is_ident("test")) {
        return refuse(other.span(), "is a test already: remove `#[test]`");
    }
    let (name, marks) = (&sig.ident, marks::of(block.to_token_stream()));
    // What is to fail is no failure to be kept.
    let should_panic = attrs.iter().any(|attr| attr.path().is_ident("should_panic"));
    let files = should_panic.then(|| quote!(.without_files()));
    let (builder, span) = (arguments.builder(), sig.ident.span());
    let output = match &sig.output {
        ReturnType::Default => quote!(),
        output @ ReturnType::Type(..) => quote!(#output),
    };
    // The name of the inner function is what a backtrace shows.
    Ok(quote_spanned! {span=>
        #(#attrs)*
        #[::core::prelude::v1::test]
        #vis fn #name() {
            fn #name() #output #block
            ::netpoll_sim::Sim::at(::netpoll_sim::Place::new(
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                ::core::env!("CARGO_MANIFEST_DIR"),
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
            ))
            #builder
            #files
            .expects(&[#(#marks),*])
            .check(#name);
        }
    })
}
