# Rank tests of small groups for tests/statistics/test_ranks.py, in base R. Writes ranks.json. Run in this folder:
#   Rscript ranks.R
# Without ties: wilcox.test. With ties, where R has no exact test, and for Kruskal-Wallis and Jonckheere-Terpstra: every
# arrangement is counted one after the other.
number <- function(x) sprintf("%.15g", x)
list_of <- function(x) paste0("[", paste(number(x), collapse = ", "), "]")
entry <- function(...) {
  values <- c(...)
  paste0("{", paste0("\"", names(values), "\": ", values, collapse = ", "), "}")
}

wilcoxon <- function(x, y) {
  values <- rank(c(x, y)); n <- length(x)
  sums <- apply(combn(length(values), n), 2, function(own) sum(values[own]))
  distance <- abs(sums - mean(sums)); observed <- abs(sum(values[seq_len(n)]) - mean(sums))
  untied <- !anyDuplicated(c(x, y))
  plain <- suppressWarnings(wilcox.test(x, y, exact = FALSE, correct = FALSE))$p.value
  corrected <- suppressWarnings(wilcox.test(x, y, exact = FALSE, correct = TRUE))$p.value
  found <- c(x = list_of(x), y = list_of(y), statistic = number(unname(suppressWarnings(wilcox.test(x, y))$statistic)),
             p = number(mean(distance > observed - 1e-9)), smallest = number(mean(distance > max(distance) - 1e-9)),
             plain = number(plain), corrected = number(corrected))
  if (untied) {
    exact <- wilcox.test(log(y), log(x), exact = TRUE, conf.int = TRUE)
    stopifnot(abs(exact$p.value - mean(distance > observed - 1e-9)) < 1e-12)
    found <- c(found, ratio = number(exp(unname(exact$estimate))), ends = list_of(exp(exact$conf.int)),
               level = number(attr(exact$conf.int, "conf.level")))
  }
  do.call(entry, as.list(found))
}

arrangements <- function(free, sizes) {
  if (length(sizes) == 1) return(list(list(free)))
  unlist(apply(combn(length(free), sizes[1]), 2, function(own) {
    lapply(arrangements(free[-own], sizes[-1]), function(rest) c(list(free[own]), rest))
  }, simplify = FALSE), recursive = FALSE)
}

trend <- function(groups) {
  total <- 0
  for (i in seq_along(groups)) for (j in seq_along(groups)) if (i < j) {
    total <- total + sum(outer(groups[[i]], groups[[j]], function(a, b) (a < b) + (a == b) / 2))
  }
  total
}

several <- function(groups) {
  values <- unlist(groups); sizes <- lengths(groups); ranks <- rank(values)
  all_ways <- arrangements(seq_along(values), sizes)
  h <- sapply(all_ways, function(way) sum(sapply(way, function(own) sum(ranks[own])^2 / length(own))))
  j <- sapply(all_ways, function(way) trend(lapply(way, function(own) values[own])))
  own_h <- sum(sapply(split(ranks, rep(seq_along(sizes), sizes)), function(r) sum(r)^2 / length(r)))
  middle <- (sum(sizes)^2 - sum(sizes^2)) / 4
  test <- kruskal.test(values, rep(seq_along(sizes), sizes))
  entry(groups = paste0("[", paste(sapply(groups, list_of), collapse = ", "), "]"), h = number(unname(test$statistic)),
        kruskal = number(mean(h > own_h - 1e-9)), kruskal_smallest = number(mean(h > max(h) - 1e-9)),
        j = number(trend(groups)), jonckheere = number(mean(abs(j - middle) > abs(trend(groups) - middle) - 1e-9)))
}

pairs <- c(
  separated = wilcoxon(c(12, 30, 55), c(130, 400, 900)),
  one_inversion = wilcoxon(c(12, 30, 400), c(55, 130, 900, 2000)),
  eight_and_three = wilcoxon(c(31, 44, 52, 60, 75, 88, 93, 97), c(3, 9, 36)),
  tied_at_a_limit = wilcoxon(c(0, 0, 55, 70), c(0, 130, 400, 70)),
  tied_everywhere = wilcoxon(c(1, 1, 2, 2, 2), c(1, 2, 2, 3, 3, 3))
)
triples <- c(
  rising = several(list(c(10, 20, 30), c(25, 40, 50, 60), c(55, 70, 80, 90))),
  tied_at_a_limit = several(list(c(0, 0, 30), c(0, 40, 50, 60), c(0, 70, 80, 60))),
  one_alone = several(list(7, c(9, 11, 3), c(20, 30)))
)
writeLines(c("{", paste0("\"made_by\": \"ranks.R, ", R.version.string, "\","),
  paste0("\"pairs\": {", paste0("\"", names(pairs), "\": ", pairs, collapse = ",\n"), "},"),
  paste0("\"several\": {", paste0("\"", names(triples), "\": ", triples, collapse = ",\n"), "}"), "}"), "ranks.json")
