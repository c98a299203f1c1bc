#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The limits of a site hold however many ask for their sites at once: destinations beyond the
# questions that may be open, and recipients that are destinations of their own.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(addr => '127.0.0.3', port => 25);
Gatepost::Dns->new(zones => { test => join '', map {"$_\n"} 'mx A 127.0.0.3', 'one MX 10 mx', '*.many MX 10 mx', 'alone A 127.0.0.3' });

sub came { my ($of) = @_; return scalar grep { $_->{rcpts}[0] =~ /$of/ } $sink->messages }

# Mail for what has other hosts comes behind it, and while some of it goes the others wait.
sub limit_holds {
    my ($what, $settings, @rcpts) = @_;
    my $gp = Gatepost::Instance->new(main => { relayhost => '', smtpd_recipient_limit => 5000, default_site_rate_limit => '2/1h', %$settings });
    $gp->start;
    is($gp->mail('', \@rcpts, "Subject: x\r\n\r\nx\r\n")->{code}, 250, "$what: taken");
    $gp->wait_log(qr/to=<r\d+\@$what\S*>, .*status=sent/, "$what: the first goes");
    my $of = qr/^<?r\d+\@.*$what/;
    ok(wait_until(20, sub { came($of) >= 2 }), "$what: and the second");
    for my $n (1 .. 2) {
        is($gp->mail('', "$what$n\@alone.test", "Subject: x\r\n\r\nx\r\n")->{code}, 250, 'one with other hosts');
        $gp->wait_log(qr/to=<$what$n\@alone\.test>, .*status=sent/, 'and it goes');
    }
    is(came($of), 2, "$what: two go in an hour");
    $gp->stop;
}

limit_holds('many', {}, map {"r$_\@many$_.many.test"} 1 .. 1100);
limit_holds('one', { smtp_destination_recipient_limit => 1 }, map {"r$_\@one.test"} 1 .. 1100);
done_testing;
