#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Gatepost's replies and log lines beside Postfix's, for the other configurations of restrictions: see
# Gatepost::PolicyCompare.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::PolicyCompare;
use Test::More;

compare(0.62, 1);
done_testing;
