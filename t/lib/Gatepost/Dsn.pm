# SPDX-License-Identifier: ISC
# Delivery reports, as readers that know nothing of us understand them.
#
#   my $dsn = Gatepost::Dsn::parse($message);       # of Gatepost::Sink: Python's email package
#   $dsn->{message}{'reporting-mta'}, $dsn->{recipients}[0]{action}, $dsn->{parts}, $dsn->{defects}
#   my $text = Gatepost::Dsn::mutt($message);       # what mutt shows of it
package Gatepost::Dsn;
use strict;
use warnings;
use Gatepost::Kit;
use JSON::PP ();
use Test::More ();

# Of one message, or of each; undef or an empty list when it cannot be read.
sub parse {
    my @paths = map { $_->{path} } @_;
    my ($status, $out) = run_out('/usr/bin/python3', src() . '/t/lib/dsn-read', @paths);
    Test::More::diag("dsn-read: $out") if $status;
    my $all = $status ? [] : JSON::PP->new->latin1(0)->utf8->decode($out);
    return wantarray ? @$all : $all->[0];
}

# mutt wants a terminal: script(1) gives it one.
sub mutt {
    my ($message) = @_;
    my $dir = tempdir('mutt');
    my $content = slurp($message->{path}) =~ s/\r\n/\n/gr;
    spew("$dir/mbox", "From MAILER-DAEMON Sat Nov 21 10:00:00 2026\n" . ($content =~ s/^From />From /mgr) . "\n");
    spew("$dir/rc", "set pipe_decode=yes wait_key=no folder=$dir spoolfile=$dir/mbox mbox_type=mbox\n"
        . "set tmpdir=$dir send_charset=utf-8 charset=utf-8 sleep_time=0 quit=yes confirmappend=no\n"
        . "set mailcap_path=$dir/mailcap\nauto_view message/global message/global-headers message/global-delivery-status\n");
    # It has no idea of RFC 6533, and wants to be told that these are text.
    spew("$dir/mailcap", join '', map {"message/global$_; cat %s; copiousoutput\n"} '', '-headers', '-delivery-status');
    my $keys = "<pipe-message>cat >$dir/out<enter><quit>";
    run_out('timeout', '60', 'script', '-qec', "HOME=$dir TERM=xterm mutt -n -R -F $dir/rc -f $dir/mbox -e 'push \"$keys\"'", "$dir/typescript");
    return slurp("$dir/out") // '';
}

# What every report must be, whoever it is about. Returns it as parse does.
sub check {
    my ($message, $name, %want) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $dsn = $message && parse($message);
    Test::More::ok($dsn, "$name: a report") or return;
    my $global = $want{global} ? 'global-' : '';
    # RFC 3461, 6.1: its own envelope.
    Test::More::is($message->{from}, '', "$name: from the null sender");
    Test::More::unlike("$message->{mail} @{ $message->{rcpt} }", qr/\bRET=|\bNOTIFY=(?!NEVER\b)/i, "$name: wishes no notices itself");
    Test::More::is_deeply($message->{rcpts}, [$want{to}], "$name: to its sender") if $want{to};
    Test::More::is($dsn->{type}, 'multipart/report', "$name: its type");
    Test::More::is($dsn->{report_type}, "${global}delivery-status", "$name: of delivery status");
    Test::More::is_deeply($dsn->{defects}, [], "$name: without defects");
    Test::More::like($dsn->{header}{'auto-submitted'} // '', qr/^auto-replied/, "$name: nobody is to answer it");
    Test::More::is_deeply($dsn->{parts}, ['text/plain', "message/${global}delivery-status", $want{returned}], "$name: its parts");
    Test::More::is($dsn->{message}{'reporting-mta'}, 'dns; mx.example', "$name: who reports");
    Test::More::ok($dsn->{message}{'arrival-date'}, "$name: since when");
    my %got = map { ($_->{'final-recipient'} =~ s/^.*; ?//r) => [$_->{action}, $_->{status}] } @{ $dsn->{recipients} };
    Test::More::is_deeply(\%got, $want{about}, "$name: what became of whom") or Test::More::diag(Test::More::explain($dsn));
    return $dsn;
}

1;
