use netpoll_sim::{Granularity, Sim, SimConfig, run};

#[test]
fn goroutines_run_under_a_seed() {
    for granularity in [Granularity::Syscall, Granularity::Atomic] {
        for seed in 0..200 {
            let mut config = SimConfig::seed(seed);
            config.granularity = granularity;
            let report = run(config, |kernel| {
                let runtime = netpoll::Builder::new().build_on::<Sim>(kernel).unwrap();
                let sum = runtime
                    .run(|| {
                        let parts: Vec<_> = (0..10)
                            .map(|i| {
                                netpoll::go(move || {
                                    if i % 3 == 0 {
                                        netpoll::yield_now();
                                    }
                                    if i % 4 == 0 {
                                        netpoll::time::sleep(std::time::Duration::from_micros(i));
                                    }
                                    i * i
                                })
                            })
                            .collect();
                        parts
                            .into_iter()
                            .map(|part| part.join().unwrap())
                            .sum::<u64>()
                    })
                    .unwrap();
                assert_eq!(sum, 285);
            });
            if !report.is_clean() || seed == 0 {
                println!("{}", netpoll_traces::text::render(&report.trace));
                println!(
                    "{granularity:?} seed {seed}: {:?} {} steps, {:?}",
                    report.outcome, report.steps, report.open_fds
                );
            }
            assert!(report.is_clean());
        }
    }
}
