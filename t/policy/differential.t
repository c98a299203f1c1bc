#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Gatepost's replies and log lines beside Postfix's, for the first configurations of restrictions: see
# Gatepost::PolicyCompare.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::PolicyCompare;
use Test::More;

compare(0, 0.62);
done_testing;
