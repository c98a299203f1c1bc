#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Each type of table over SMTP: what it says of one client's HELO name, and that it says nothing of
# another's; a port for each.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Smtp;
use Gatepost::Tables;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;

my $dir = tempdir('types');

# A server in a child: each request is what PATTERN finds, each answer what the code makes of it.
sub serve {
    my ($pattern, $answer) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10) or die $!;
    defined(my $pid = fork) or die "fork: $!";
    if ($pid) {
        Gatepost::Kit::adopt($pid);
        return $listener->sockport;
    }
    Gatepost::Kit::default_signals();
    my $select = IO::Select->new($listener);
    my %in;
    while (1) {
        for my $s ($select->can_read) {
            if ($s == $listener) {
                my $new = $listener->accept or next;
                $select->add($new);
                $in{$new} = '';
            } elsif (sysread $s, $in{$s}, 4096, length $in{$s}) {
                syswrite $s, $answer->($1) while $in{$s} =~ s/^$pattern//s;
            } else {
                $select->remove($s);
                close $s;
            }
        }
    }
}
my $tcp = serve(qr/get (.*?)\n/, sub { $_[0] eq 'found' ? "200 REJECT%20by%20tcp\n" : "500 none\n" });
my $socketmap = serve(qr/\d+:(.*?),/, sub { $_[0] eq 'access found' ? '19:OK REJECT socketmap,' : '9:NOTFOUND ,' });

sub built {
    my ($type) = @_;
    return table($type, "$dir/$type", "found REJECT by $type\n");
}
spew("$dir/$_->[0]", "$_->[1]\n") for ['cidr', '127.0.0.2/31 REJECT by cidr'], ['pcre', "/^FOUND\$/ REJECT by pcre\n/^FORBIDDEN\$/ x"],
    ['regexp', '/^f(oun)d$/ REJECT by $1'], ['list', "found"];
# Table, name that it knows, what is said of it.
my @rows = (
    (map { [built($_), 'found', "by $_"] } qw(hash btree lmdb)),
    ['proxy:' . built('hash'), 'found', 'by hash'],
    [texthash("$dir/texthash", "found REJECT by texthash\n"), 'found', 'by texthash'],
    ["pcre:$dir/pcre", 'found', 'by pcre'], ["regexp:$dir/regexp", 'found', 'by oun'],
    ['inline:{{found = REJECT by inline}}', 'FOUND', 'by inline'],
    ['pipemap:{inline:{found=x}, static:{REJECT by static}}', 'found', 'by static'],
    ['pipemap:{inline:{found=x}, randmap:{{REJECT one}, {REJECT two}}}', 'found', '(?:one|two)'],
    ['unionmap:{inline:{found=reject_unauth_destination}, inline:{found=reject}}', 'found', 'Access denied'],
    ['pipemap:{unix:passwd.byname, static:{REJECT a user}}', 'root', 'a user'],
    ['pipemap:{unix:group.byname, static:{REJECT a group}}', (getgrgid 0)[0], 'a group'],
    ["tcp:127.0.0.1:$tcp", 'found', 'by tcp'], ["socketmap:inet:127.0.0.1:${socketmap}:access", 'found', 'socketmap'],
);
my @master;
for my $row (@rows) {
    push @$row, free_port();
    push @master, "$row->[-1] inet n - n - 2 smtpd -o { smtpd_helo_restrictions = check_helo_access $row->[0] }";
}
my ($cidr, $list) = map { free_port() } 1, 2;
my $gp = Gatepost::Instance->new(
    main => { mydestination => 'local.test', local_transport => 'discard', smtpd_relay_restrictions => 'permit_mynetworks, reject',
        smtpd_recipient_restrictions => '' },
    master => [@master, "$cidr inet n - n - 2 smtpd -o { smtpd_client_restrictions = check_client_access cidr:$dir/cidr }",
        "$list inet n - n - 2 smtpd -o smtpd_noop_commands=$dir/list -o smtpd_forbidden_commands=pcre:$dir/pcre"],
);
$gp->start or BAIL_OUT('no instance');

sub rcpt {
    my ($port, $helo, $from) = @_;
    my $c = Gatepost::Smtp->new(port => $port, from => $from // '127.0.0.1') or return 'no connection';
    $c->hello($helo) or return 'no session';
    $c->cmd('MAIL FROM:<s@far.test>');
    my $r = $c->cmd('RCPT TO:<u@local.test>');
    $c->quit;
    return $r->{text};
}
for my $row (@rows) {
    my ($table, $name, $text, $port) = @$row;
    like(rcpt($port, $name), qr/^554 5\.7\.1 .*: Helo command rejected: $text$/, "$table: found");
    is(rcpt($port, 'nothing'), '250 2.1.5 Ok', 'another is not');
}
like(rcpt($cidr, 'h', '127.0.0.3'), qr/^554 5\.7\.1 .* by cidr$/, 'cidr: in the network');
is(rcpt($cidr, 'h', '127.0.0.4'), '250 2.1.5 Ok', 'another is not');
my $c = Gatepost::Smtp->new(port => $list);
$c->hello;
is($c->cmd('FOUND')->{text}, '250 2.0.0 Ok', 'a list from a file');
is($c->cmd('NOTHING')->{code}, 500, 'another is not');
is($c->cmd('FORBIDDEN')->{code}, 221, 'a list with a table in a file');
$c->quit;
$gp->stop;
done_testing;
