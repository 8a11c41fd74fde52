# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0
#
# Rscript tests/data/make_biasedurn_reference.R > tests/data/biasedurn_reference.json
# (R 4.2.2 with BiasedUrn 2.0.9, Debian's r-cran-biasedurn)
#
# Every function of BiasedUrn but the random ones, on the same few urns for both laws.

library(BiasedUrn)
p <- 1e-12

json <- function(v) {
  if (is.list(v)) {
    names <- names(v)
    items <- vapply(v, json, "")
    if (is.null(names)) return(paste0("[", paste(items, collapse = ", "), "]"))
    return(paste0("{", paste0('"', names, '": ', items, collapse = ", "), "}"))
  }
  if (is.character(v)) return(paste0('"', v, '"'))
  numbers <- sprintf("%.17g", as.numeric(v))
  if (length(v) == 1) numbers else paste0("[", paste(numbers, collapse = ", "), "]")
}

two <- function(law, m1, m2, n, odds) {
  f <- function(name) get(paste0(name, law, "CHypergeo"))
  x <- minHypergeo(m1, m2, n):maxHypergeo(m1, m2, n)
  q <- c(0.001, 0.1, 0.5, 0.9, 0.999)
  mu <- f("mean")(m1, m2, n, odds, p)
  list(
    law = law, m1 = m1, m2 = m2, n = n, odds = odds,
    min = minHypergeo(m1, m2, n), max = maxHypergeo(m1, m2, n),
    x = as.list(x), d = as.list(f("d")(x, m1, m2, n, odds, p)),
    p = as.list(f("p")(x, m1, m2, n, odds, p)),
    p_upper = as.list(f("p")(x, m1, m2, n, odds, p, lower.tail = FALSE)),
    probability = as.list(q), q = as.list(f("q")(q, m1, m2, n, odds, p)),
    mean = mu, var = f("var")(m1, m2, n, odds, p), mode = f("mode")(m1, m2, n, odds, p),
    odds_of_mean = f("odds")(mu, m1, m2, n, 0.1),
    num_of_mean = as.list(f("num")(mu, n, m1 + m2, odds, 0.1))
  )
}

many <- function(law, m, n, odds, x) {
  f <- function(name) get(paste0(name, "M", law, "CHypergeo"))
  mu <- f("mean")(m, n, odds, p)
  moments <- f("moments")(m, n, odds, p)
  list(
    law = law, m = as.list(m), n = n, odds = as.list(odds),
    min = as.list(minMHypergeo(m, n)), max = as.list(maxMHypergeo(m, n)),
    x = as.list(x), d = f("d")(x, m, n, odds, p),
    mean = as.list(mu), var = as.list(f("var")(m, n, odds, p)),
    moments_mean = as.list(moments[, 1]), moments_var = as.list(moments[, 2]),
    odds_of_mean = as.list(f("odds")(mu, m, n, 0.1)),
    num_of_mean = as.list(f("num")(mu, n, sum(m), odds, 0.1))
  )
}

laws2 <- c("FN", "WN")
univariate <- list()
for (law in laws2) {
  univariate <- c(univariate, list(
    two(law, 10, 12, 8, 2), two(law, 25, 32, 20, 2.5), two(law, 5, 3, 6, 0.2),
    two(law, 60, 40, 50, 1)
  ))
}
multivariate <- list()
for (law in c("FN", "WN")) {
  multivariate <- c(multivariate, list(
    many(law, c(10, 10, 10), 10, c(1, 2, 4), c(2, 3, 5)),
    many(law, c(20, 30, 20), 42, c(1, 2.5, 1.8), c(8, 20, 14)),
    many(law, c(5, 6, 7, 4), 9, c(0.5, 1, 2, 3), c(1, 2, 3, 3))
  ))
}
cat(json(list(
  made_by = paste("BiasedUrn", packageVersion("BiasedUrn"), "precision", p),
  univariate = univariate, multivariate = multivariate
)), "\n")
