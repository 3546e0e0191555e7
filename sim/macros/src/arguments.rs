//! The arguments of the attribute.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprLit, Ident, Lit, Token};

/// What may be said.
const KNOWN: &str = "seeds, faults, workers, granularity, time_limit, catches_panics";

/// The arguments, each as the call that it stands for.
pub(crate) struct Arguments {
    calls: Vec<TokenStream>,
}

impl Arguments {
    /// The calls to `Sim`, one after the other.
    pub(crate) fn builder(&self) -> TokenStream {
        let calls = &self.calls;
        quote!(#(#calls)*)
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Arguments, Error> {
        let arguments = Punctuated::<Argument, Token![,]>::parse_terminated(input)?;
        let mut said: Vec<&Ident> = Vec::new();
        let mut calls = Vec::new();
        for argument in &arguments {
            let name = &argument.name;
            if said.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` has been said before")));
            }
            said.push(name);
            calls.push(argument.call()?);
        }
        Ok(Arguments { calls })
    }
}

/// `name` or `name = value`.
struct Argument {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Argument, Error> {
        let name = input.parse()?;
        let value = match input.parse::<Option<Token![=]>>()? {
            None => None,
            Some(_) => Some(input.parse()?),
        };
        Ok(Argument { name, value })
    }
}

impl Argument {
    fn call(&self) -> Result<TokenStream, Error> {
        let span = self.name.span();
        let call = match self.name.to_string().as_str() {
            "seeds" => {
                let value = self.value("500` or `seeds = 100..200")?;
                match value {
                    Expr::Range(_) => quote!(.seeds(#value)),
                    _ => quote!(.seeds(0..#value)),
                }
            }
            "faults" => {
                let value = self.value("chaos")?;
                let faults = faults(value)?;
                quote!(.faults(#faults))
            }
            "workers" => {
                let value = self.value("3")?;
                if number(value) == Some(0) {
                    return Err(Error::new(value.span(), "a runtime has at least 1 worker"));
                }
                quote!(.workers(#value))
            }
            "granularity" => {
                let value = self.value("atomic")?;
                let granularity = match word(value).as_deref() {
                    Some("syscall") => quote!(Syscall),
                    Some("atomic") => quote!(Atomic),
                    _ => {
                        return Err(Error::new(
                            value.span(),
                            "granularity is `syscall` or `atomic`",
                        ));
                    }
                };
                quote!(.granularity(::netpoll_sim::Granularity::#granularity))
            }
            "time_limit" => {
                let nanos = nanos(self.value("\"30s\"")?)?;
                quote!(.time_limit(::core::time::Duration::from_nanos(#nanos)))
            }
            "catches_panics" => match &self.value {
                None => quote!(.catches_panics()),
                Some(value) => {
                    return Err(Error::new(value.span(), "`catches_panics` takes no value"));
                }
            },
            other => {
                return Err(Error::new(span, format!("`{other}` is not known; there are {KNOWN}")));
            }
        };
        Ok(quote_spanned!(span=> #call))
    }

    fn value(&self, example: &str) -> Result<&Expr, Error> {
        let name = &self.name;
        let missing = || Error::new(name.span(), format!("with a value: `{name} = {example}`"));
        self.value.as_ref().ok_or_else(missing)
    }
}

/// A name of a set of faults, or any other expression for one.
fn faults(value: &Expr) -> Result<TokenStream, Error> {
    Ok(match word(value).as_deref() {
        Some("none") => quote!(::netpoll_sim::Faults::none()),
        Some("light") => quote!(::netpoll_sim::Faults::light()),
        Some("chaos") => quote!(::netpoll_sim::Faults::chaos()),
        Some("swarm") => quote!(::netpoll_sim::Profile::Swarm),
        // A constant is written in capitals; anything else in one word is a slip.
        Some(other) if other != other.to_uppercase() => {
            let text = format!(
                "`{other}` is no set of faults: `none`, `light`, `chaos`, `swarm`, or an expression such as \
                 `Faults::chaos().with(FaultKind::StreamReset, 5)`"
            );
            return Err(Error::new(value.span(), text));
        }
        _ => quote!(#value),
    })
}

/// `"30s"`.
fn nanos(value: &Expr) -> Result<u64, Error> {
    let parse = |text: &str| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (number, unit) = (digits.parse().ok()?, &text[digits.len()..]);
        let duration = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            _ => return None,
        };
        u64::try_from(duration.as_nanos()).ok().filter(|&nanos| nanos > 0)
    };
    let text = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    };
    let wrong = || Error::new(value.span(), "a time such as \"500ms\", \"30s\" or \"2m\"");
    text.as_deref().and_then(parse).ok_or_else(wrong)
}

/// A single word.
fn word(value: &Expr) -> Option<String> {
    match value {
        Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
        _ => None,
    }
}

fn number(value: &Expr) -> Option<u64> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(text: &str) -> Result<String, String> {
        let parsed = syn::parse_str::<Arguments>(text);
        let built = parsed.map(|arguments| arguments.builder().to_string().replace(' ', ""));
        built.map_err(|error| error.to_string())
    }

    #[test]
    fn each_argument_is_one_call() {
        let check = |text, expected: &str| assert_eq!(calls(text), Ok(expected.to_string()));
        check("", "");
        check("seeds = 5", ".seeds(0..5)");
        check("seeds = 5..N,", ".seeds(5..N)");
        check("faults = swarm", ".faults(::netpoll_sim::Profile::Swarm)");
        check("faults = FAULTS", ".faults(FAULTS)");
        check("faults = mine()", ".faults(mine())");
        check("workers = 1, catches_panics", ".workers(1).catches_panics()");
        check("granularity = atomic", ".granularity(::netpoll_sim::Granularity::Atomic)");
        check(
            "time_limit = \"2m\"",
            ".time_limit(::core::time::Duration::from_nanos(120000000000u64))",
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |text, expected: &str| {
            let error = calls(text).expect_err("it makes no sense");
            assert!(error.starts_with(expected), "{text}: {error}");
        };
        check("sedes = 5", "`sedes` is not known; there are seeds, faults");
        check("seeds", "with a value: `seeds = 500` or `seeds = 100..200`");
        check("seeds = 5, seeds = 6", "`seeds` has been said before");
        check("faults = caos", "`caos` is no set of faults: `none`, `light`");
        check("workers = 0", "a runtime has at least 1 worker");
        check("granularity = fine", "granularity is `syscall` or `atomic`");
        check("time_limit = 30", "a time such as");
        check("time_limit = \"30\"", "a time such as");
        check("time_limit = \"0s\"", "a time such as");
        check("catches_panics = true", "`catches_panics` takes no value");
    }

    #[test]
    fn an_error_points_at_its_argument() {
        let error = syn::parse_str::<Arguments>("workers = 2, faults = caos").err();
        let start = error.expect("it makes no sense").span().start();
        assert_eq!(start.column, "workers = 2, faults = ".len());
    }
}
