# SPDX-License-Identifier: ISC
# The row policy: a RCPT that passes ten restrictions with eight indexed tables, none of which has
# an entry that decides but the two that know the recipient.
package Bench::Policy;
use strict;
use warnings;
use Bench::Lab;
use Gatepost::Kit;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);

my $ENTRIES = 10000;
my $BATCH = 100;
my @TABLES = qw(client helo sender sender2 rcpt rcpt2 known alias);

# Settings of either, with tables in DIR: both read the same files.
sub settings {
    my ($dir) = @_;
    for my $table (@TABLES) {
        my $domain = $table eq 'known' ? 'next.example' : "$table.example";
        my $value = $table eq 'alias' ? 'one@next.example' : 'REJECT';
        spew("$dir/$table", join '', map {"u$_\@$domain $value\n"} 1 .. $ENTRIES);
        sh(build() . '/sbin/gatemap', "hash:$dir/$table");
    }
    return (
        relay_domains => 'next.example', relay_recipient_maps => "hash:$dir/known", virtual_alias_maps => "hash:$dir/alias",
        smtpd_client_restrictions => "check_client_access hash:$dir/client",
        smtpd_helo_restrictions => "check_helo_access hash:$dir/helo, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
        smtpd_sender_restrictions => "check_sender_access hash:$dir/sender, check_sender_access hash:$dir/sender2, reject_non_fqdn_sender",
        smtpd_relay_restrictions => 'reject_unauth_destination',
        smtpd_recipient_restrictions => "check_recipient_access hash:$dir/rcpt, check_recipient_access hash:$dir/rcpt2",
        smtpd_recipient_limit => 2000, smtpd_junk_command_limit => 100000,
    );
}

sub replies {
    my ($s, $n, $code) = @_;
    for (1 .. $n) {
        my $line = <$s> // die "the server is gone\n";
        redo if $line =~ /^\d{3}-/;
        $line =~ /^$code/ or die "reply: $line";
    }
}

# CPU in microseconds per RCPT of COUNT ones, in transactions of a thousand that are given up.
sub once {
    my ($mta, $count) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $mta->port) or die "connect: $!\n";
    setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
    replies($s, 1, 220);
    my ($cpu, $start, $u) = (0, 0, 0);
    syswrite $s, "EHLO client.example\r\n";
    replies($s, 1, 250);
    for my $round (0 .. $count / 1000) {
        # The first round is for what happens once.
        ($cpu, $start) = (cgroup_cpu($mta->cg), mono()) if $round == 1;
        syswrite $s, "MAIL FROM:<somebody\@client.example>\r\n";
        replies($s, 1, 250);
        for (1 .. 1000 / $BATCH) {
            syswrite $s, join '', map { 'RCPT TO:<u' . (1 + $u++ % $ENTRIES) . "\@next.example>\r\n" } 1 .. $BATCH;
            replies($s, $BATCH, 250);
        }
        syswrite $s, "RSET\r\n";
        replies($s, 1, 250);
    }
    my $seconds = mono() - $start;
    syswrite $s, "QUIT\r\n";
    replies($s, 1, 221);
    return { cpu => 1e6 * (cgroup_cpu($mta->cg) - $cpu) / $count, rate => $count / $seconds };
}

1;
