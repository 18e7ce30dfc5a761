// -log-likelihood of ln copies of a two-phase decline; values below the limit enter with their probability (M3).
#include <TMB.hpp>

template <class Type>
Type objective_function<Type>::operator()() {
  DATA_VECTOR(day);
  DATA_VECTOR(ln_y);  // ln of the limit where below is 1
  DATA_IVECTOR(below);
  DATA_SCALAR(dose);
  PARAMETER(ln_F);
  PARAMETER(ln_alpha);
  PARAMETER(logit_f_b);
  PARAMETER(ln_beta);
  PARAMETER(ln_sd);
  Type f_b = invlogit(logit_f_b), sd = exp(ln_sd), total = 0;
  for (int i = 0; i < day.size(); i++) {
    Type phases = (1 - f_b) * exp(-exp(ln_alpha) * day(i)) + f_b * exp(-exp(ln_beta) * day(i));
    Type ln_f = ln_F + log(dose) + log(phases);
    total -= below(i) ? log(pnorm(ln_y(i), ln_f, sd)) : dnorm(ln_y(i), ln_f, sd, true);
  }
  return total;
}
