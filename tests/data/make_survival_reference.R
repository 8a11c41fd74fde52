# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

# Values of R's package survival for tests/infer/regression/test_survival.py. In this folder:
#     Rscript make_survival_reference.R > survival_reference.json
library(survival)
shown <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
part <- function(name, fit) {
    cat(sprintf('  "%s": {"coefficients": %s, "variance": %s, "log_likelihood": %s}',
                name, shown(coef(fit)), shown(vcov(fit)), shown(fit$loglik)))
}
tight <- coxph.control(eps = 1e-14, toler.chol = 1e-14, iter.max = 50)
cat(sprintf('{\n  "versions": "R %s, survival %s",\n', getRversion(), packageVersion("survival")))
part("clogit", clogit(case ~ x1 + x2 + x3, read.csv("clogit.csv"), method = "exact", control = tight))
cat(",\n")
part("ties", coxph(Surv(time, status) ~ z1 + z2, read.csv("ties.csv"), ties = "exact", control = tight))
cat("\n}\n")
